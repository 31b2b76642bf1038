"""A developer's own app, all the way over real processes: from an empty folder to a released result, each by its own person.

At every station a changed package and somebody else's signature are held out as well.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from demo import authorise
from demo.commands import CommandFailed, run
from tests.factories.town import AUTHORITY, DEVELOPER, OPERATOR, Town, department, town

import shuyan
from shuyan import confinement

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(600),
    pytest.mark.skipif(not confinement.sufficient(confinement.layers_here()), reason="no sandbox for other people's code here")]

DEPARTMENTS = [department(slug, name) for slug, name in (("east", "东区医院"), ("west", "西区医院"), ("north", "北区医院"))]
DISTRICTS = ["east", "north", "south", "west"]


class AppTown(Town):
    """The data authority looks developers' apps up in a folder of its own."""

    @property
    def authority_apps(self) -> Path:
        return self.layout.authority / "apps"

    def authority_command(self, *arguments: str | Path) -> str:
        environment = self.layout.authority_environment() | {"SHUYAN_APPS_DIR": str(self.authority_apps)}
        return run("shuyan-authority", *arguments, environment=environment)


@dataclass
class Place:
    """The market, where everybody's files lie, and what has been made so far."""

    market: AppTown
    folder: Path
    rows: list[tuple[float, str]] = field(default_factory=list)
    resources: list[shuyan.Resource] = field(default_factory=list)

    def shuyan(self, slug: str, *arguments: str | Path, json_: bool = True) -> Any:
        """The ``shuyan`` command as an organisation's program."""
        layout = self.market.layout
        said = run("shuyan", *arguments, *(["--json"] if json_ else []), environment={
            "SHUYAN_URL": layout.url, "SHUYAN_CLIENT_ID": f"client_{slug}", "SHUYAN_LANG": "en",
            "SHUYAN_CLIENT_SECRET_FILE": str(layout.root / "clients" / f"{slug}.secret")})
        return json.loads(said) if json_ else said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with town(DEPARTMENTS, AppTown) as running:  # type: ignore[arg-type]
        running.enrol_all()
        made = Place(running, tmp_path_factory.mktemp("apps"))  # type: ignore[arg-type]
        chance, files = random.Random(5), {}
        for one in DEPARTMENTS:
            rows = [(round(chance.uniform(10, 900), 2), chance.choice(DISTRICTS)) for _ in range(150)]
            made.rows += rows
            files[one.slug] = tmp_path_factory.mktemp(one.slug) / "visits.csv"
            with files[one.slug].open("w", newline="") as out:
                csv.writer(out).writerows([("cost", "district"), *rows])
        made.resources = running.offer("visits", files, ["cost"], [f"district={','.join(DISTRICTS)}"])
        yield made


def refused(code_text: str, call: Any, *arguments: Any, **more: Any) -> None:
    with pytest.raises(CommandFailed) as raised:
        call(*arguments, **more)
    assert raised.value.exit_code == 1
    assert code_text in raised.value.output


def spoiled(package: Path, folder: Path) -> Path:
    """The same package with one byte of its source changed."""
    folder.mkdir()
    target = folder / package.name
    data = package.read_bytes()
    at = data.index(b"isfinite")
    target.write_bytes(data[:at] + b"I" + data[at + 1:])
    return target


def test_the_whole_way(place: Place) -> None:
    market, folder = place.market, place.folder
    desk = folder / "operator"  # the signing desk: no process of the market ever sees it
    desk.mkdir()
    run("shuyan", "app", "new-key", desk / "apps.key", desk / "apps.pub")
    shutil.copyfile(desk / "apps.pub", market.layout.market / "keys" / "apps.pub")

    # the developer: new, check, pack, submit
    run("shuyan", "app", "new", "visit_costs", "--into", folder)
    project = folder / "visit_costs"
    assert json.loads(run("shuyan", "app", "check", "--project", project, "--json"))["passed"]
    packed = json.loads(run("shuyan", "app", "pack", "--project", project, "--out", folder, "--json"))
    package = Path(packed["file"])
    changed = spoiled(package, folder / "changed")
    refused("not valid", place.shuyan, DEVELOPER.slug, "app", "submit", changed)
    submission = place.shuyan(DEVELOPER.slug, "app", "submit", package, "--note", "按区统计就诊费用")
    assert (submission["digest"], submission["findings"], submission["status"]) == (packed["digest"], [], "submitted")
    number = submission["id"]
    for one in DEPARTMENTS:
        assert place.shuyan(one.slug, "app", "submissions") == []

    # the operator: look, sign offline, accept; neither the developer nor a wrong signature gets it through
    shown = place.shuyan(OPERATOR.slug, "app", "submission", number, "--save", desk)
    assert {one["vector"] for one in shown["outputs"]} == {"count", "sum"}
    assert shown["previous"] is None
    review = desk / package.name
    assert review.read_bytes() == package.read_bytes()
    run("shuyan", "app", "new-key", folder / "mallory.key", folder / "mallory.pub")
    signature = review.with_name(review.name + ".sig")
    run("shuyan", "app", "sign", review, "--key", folder / "mallory.key", "--issuer", "堰城公共数据运营有限公司")
    wrong = folder / "wrong.sig"
    signature.rename(wrong)
    refused("signature", place.shuyan, OPERATOR.slug, "app", "review", number, "accept", "--signature", wrong)
    run("shuyan", "app", "sign", review, "--key", desk / "apps.key", "--issuer", "堰城公共数据运营有限公司")
    refused("", place.shuyan, DEVELOPER.slug, "app", "review", number, "accept", "--signature", signature)
    accepted = place.shuyan(OPERATOR.slug, "app", "review", number, "accept", "--signature", signature)
    assert (accepted["status"], accepted["signer"]) == ("accepted", "堰城公共数据运营有限公司")

    # the departments: download, trust the operator's key, install, allow
    refused("signature", place.shuyan, "east", "app", "download", "visit_costs", "--out", folder / "none", "--key", folder / "mallory.pub")
    for one in DEPARTMENTS:
        got = Path(place.shuyan(one.slug, "app", "download", "visit_costs", "--out", folder / one.slug, "--key", desk / "apps.pub")["package"])
        assert got.read_bytes() == package.read_bytes()
        refused("", market.node_command, one, "app", "install", got)  # no key is trusted yet
        market.node_command(one, "app", "trust-key", desk / "apps.pub", "--yes")
        refused("", market.node_command, one, "app", "install", got, "--signature", wrong)
        refused("", market.node_command, one, "app", "install", changed, "--signature", signature)
        market.node_command(one, "app", "install", got)
        market.node_command(one, "app", "allow", "visit_costs", "--digest", packed["digest"])
    developer = market.connect(DEVELOPER)
    market.wait_for(lambda: True if len(developer.apps.get("visit_costs").allowed_at) == 3 else None, "three departments allow it")
    card = developer.apps.get("visit_costs")
    assert (card.digest, [one["version"] for one in card.versions]) == (packed["digest"], ["1.0.0"])

    # the data authority: signs a grant only for a package it has before it
    demand = authorise.ask(
        market, title="就诊费用统计", purpose="按区统计就诊费用均值，不涉及任何原始记录。", sector="health",
        columns={resource.id: ["cost", "district"] for resource in place.resources}, apps=["visit_costs"],
        output_forms=["statistics"], minimum_cohort=10, minimum_participants=3, term_days=30)
    refused("visit_costs", market.authority_command, "issue", demand, "--yes")
    place.shuyan(AUTHORITY.slug, "app", "download", "visit_costs", "--out", market.authority_apps, "--key", desk / "apps.pub")
    market.authority_command("issue", demand, "--yes")
    grant = next(one.id for one in developer.grants.list() if one.demand_id == demand)

    # a job: bad parameters are refused by the declared schema, good ones end in a reviewed result
    with pytest.raises(shuyan.InvalidInput):
        developer.jobs.submit(grant, "visit_costs", {"resource": "visits", "column": "cost", "by": "district", "more": 1})
    for params, code in (({"column": "none", "by": "district"}, "unknown_column"), ({"column": "cost", "by": "cost"}, "not_a_dimension"),
                         ({"column": "district", "by": "district"}, "wrong_type")):
        with pytest.raises(shuyan.ProblemResponse) as wrong_params:
            developer.jobs.submit(grant, "visit_costs", {"resource": "visits", **params})
        assert wrong_params.value.code == code
    params = {"resource": "visits", "column": "cost", "by": "district"}
    with pytest.raises(shuyan.Conflict) as untried:
        developer.jobs.submit(grant, "visit_costs", params)
    assert untried.value.code == "not_tried_in_sandbox"
    box = developer.sandbox(developer.demands.get(demand).scenario_id, rows=200, directory=folder / "sandboxes")
    trial = box.run("visit_costs", params)
    assert (trial.parts["app_digest"], trial.content["rows"]) == (packed["digest"], 200 * len(DEPARTMENTS))
    content = market.compute(grant, "visit_costs", params)
    assert content["rows"] == len(place.rows)
    assert {one["value"] for one in content["groups"]} == set(DISTRICTS)
    for group in content["groups"]:
        mine = [cost for cost, district in place.rows if district == group["value"]]
        assert group["count"] == len(mine)
        assert group["mean"] == pytest.approx(sum(mine) / len(mine), rel=1e-9)

    # the operator takes it out of use: no job runs it, nobody downloads it
    place.shuyan(OPERATOR.slug, "app", "review", number, "suspend", "--note", "发现缺陷")
    with pytest.raises(shuyan.ProblemResponse) as gone:
        developer.jobs.submit(grant, "visit_costs", params, fresh=True)
    assert gone.value.code == "app_not_offered"
    refused("", place.shuyan, "east", "app", "download", "visit_costs")
    assert "visit_costs" not in {app.name for app in developer.apps()}
