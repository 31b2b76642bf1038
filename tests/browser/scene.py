"""A market as its users find it on an ordinary day, made through the real services: members of every role, enrolled
nodes, a granted scenario, jobs in several states, two products on sale, orders awaiting payment and paid.

Only the computing itself is played: the results are fixed figures handed to the coordinator's own bookkeeping.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session
from tests.browser import played
from tests.factories import review

from marketplace.actor import SYSTEM, Actor
from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.commerce import service as commerce
from marketplace.computing import budgets, nodes, runs
from marketplace.computing import service as computing
from marketplace.db import transaction
from marketplace.parties import service as parties
from marketplace.parties.seed import seed
from marketplace.pricing import service as pricing
from marketplace.products import service as products
from marketplace.products.stages import CHECKLISTS
from marketplace.sandboxes import service as sandboxes
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.federation import apps
from shuyan.trust import keys

PASSWORD = "shuyan-example"
ROLES = {
    "authority": ("data_authority", "市数据局", "City Data Bureau", "陈敏"),
    "operator": ("operator", "市数据运营公司", "City Data Operations", "李强"),
    "developer": ("developer", "清源智算科技", "Qingyuan Computing", "王芳"),
    "consumer": ("consumer", "惠民保险", "Huimin Insurance", "赵磊"),
}
HOSPITALS = (("first", "第一人民医院", "First People's Hospital"), ("second", "第二人民医院", "Second People's Hospital"),
             ("east", "城东医院", "East District Hospital"), ("west", "城西医院", "West District Hospital"))
DISTRICTS = ["城北", "城东", "城南", "城西"]
AGES = ["0-17", "18-39", "40-59", "60+"]


def _column(name: str, title: str, kind: str = "number", domain: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "title": title, "identifier": False, "domain": domain or [], **more}


RESOURCE: dict[str, Any] = {
    "name": "inpatients", "title": "住院病例", "title_en": "Inpatient cases",
    "description": "住院患者的检查指标与结局，每行一次住院。", "sector": "health", "grade": 3, "row_count": 2400,
    "approval": "automatic", "columns": [
        {**_column("id_number", "身份证号", "string"), "identifier": True},
        _column("age", "年龄", "integer", unit="岁", lower=0.0, upper=100.0),
        _column("systolic", "收缩压", unit="mmHg", lower=80.0, upper=220.0),
        _column("cholesterol", "总胆固醇", unit="mmol/L", lower=1.0, upper=12.0),
        _column("cost", "住院费用", unit="元", lower=0.0, upper=80000.0),
        _column("days", "住院天数", "integer", unit="天", lower=0.0, upper=60.0, resolution=1.0),
        _column("month", "入院月份", "integer", [str(month) for month in range(1, 13)], lower=1.0, upper=12.0),
        _column("readmitted", "三十天内再入院", "boolean"),
        _column("district", "居住区域", "string", DISTRICTS),
        _column("age_group", "年龄段", "string", AGES),
    ],
}
APPS = ["query", "statistics", "regression", "boosting", "network", "clustering", "components", "survival"]
GRANTED = [column["name"] for column in RESOURCE["columns"] if not column["identifier"]]


@dataclass
class Scene:
    """Identifiers of what there is, and an actor for each role."""

    actors: dict[str, Actor] = field(default_factory=dict)
    nodes: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    grant: str = ""
    noisy_grant: str = ""
    sandbox: str = ""
    open_demand: str = ""
    draft_demand: str = ""
    scenarios: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    reviews: dict[str, str] = field(default_factory=dict)
    products: dict[str, str] = field(default_factory=dict)
    orders: dict[str, str] = field(default_factory=dict)


def email(role: str) -> str:
    """The address a role's member signs in with."""
    return f"{role}@example.org"


def build() -> Scene:
    """Fill an empty, upgraded database and return what is in it."""
    scene = Scene()
    trust.ensure_log_key(settings())
    with transaction() as session:
        _people(session, scene)
        _nodes(session, scene)
    _grant(scene)
    with transaction() as session:
        _jobs(session, scene)
    with transaction() as session:
        _products(session, scene)
    with transaction() as session:
        _sandbox(session, scene)
    with transaction() as session:
        trust.make_checkpoint(session)
    return scene


def _people(session: Session, scene: Scene) -> None:
    organisations = [
        {"id": f"org_{role}", "kind": kind, "name_zh": zh, "name_en": en,
         "members": [{"email": email(role), "display_name": person, "password": PASSWORD}]}
        for role, (kind, zh, en, person) in ROLES.items()]
    organisations += [
        {"id": f"org_{slug}", "kind": "source_department", "name_zh": zh, "name_en": en,
         "members": [{"email": email(slug), "display_name": "周宁", "password": PASSWORD}]}
        for slug, zh, en in HOSPITALS]
    seed(session, {"organisations": organisations})
    session.flush()
    for role in (*ROLES, *(slug for slug, _zh, _en in HOSPITALS)):
        account = parties.authenticate(session, email(role), PASSWORD)
        scene.actors[role] = parties.actor_for_member(session, parties.memberships_of(session, account.id)[0][0])


def _nodes(session: Session, scene: Scene) -> None:
    installed = apps.installed()
    for slug, _zh, en in HOSPITALS:
        node_id = nodes.new_node_id()
        invitation = nodes.ConsumedInvitation(f"org_{slug}", en, f"{slug}-node")
        signing, agreement = keys.generate_signing_key(), keys.generate_agreement_key()
        node = nodes.enrol_node(
            session, invitation, node_id=node_id, certificate_pem="", certificate_serial=node_id,
            signing_key=signing.public_key().public_bytes_raw(), agreement_key=agreement.public_key().public_bytes_raw(),
            software_version="0.1.0")
        nodes.node_connected(session, node_id, software_version="0.1.0", revocations_seen=1,
                             apps=[{"name": app.name, "digest": app.digest} for app in installed.values()])
        scene.nodes.append(node_id)
        scene.resources.append(catalogue.sync_resources(session, node, [RESOURCE])[RESOURCE["name"]])
    nodes.nodes_disconnected(session, [scene.nodes[-1]])


def _grant(scene: Scene) -> None:
    authority_key = keys.generate_signing_key()
    settings().keys_dir.mkdir(parents=True, exist_ok=True)
    keys.save_public_key(settings().keys_dir / "authority.pub", authority_key.public_key())
    developer, authority = scene.actors["developer"], scene.actors["authority"]
    body = {"resources": [{"resource_id": item, "columns": GRANTED} for item in scene.resources],
            "apps": APPS, "output_forms": ["statistics", "model"], "minimum_cohort": 10,
            "minimum_participants": 3, "term_days": 180}
    with transaction() as session:
        scene.grant = review.granted(
            session, developer, authority, authority_key, body, title="智能核保与理赔", sector="health",
            purpose="按区域和年龄段评估住院费用与再入院风险，为保险产品定价和理赔审核提供参考，不涉及任何个人记录。").id
        scene.noisy_grant = review.granted(
            session, developer, authority, authority_key,
            {**body, "apps": ["query", "statistics", "network", "clustering", "components"], "release": "dp", "privacy": PRIVACY},
            title="住院费用公开统计", sector="health", purpose="面向社会公布住院费用水平，结果加噪，任何个人均不可识别。").id
    with transaction() as session:
        _open(session, scene, body)
    with transaction() as session:
        for place, node_id in enumerate(scene.nodes):
            shared = {"delta": 1e-6, "renewal": "never", "renews_at_ms": 0}
            budgets.sync(session, node_id, [
                {**shared, "scope": "grant", "resource": "", "grantee": "org_developer", "grant_id": scene.noisy_grant,
                 "cap_nano": 500_000_000, "spent_nano": (5_000_000, 120_000_000, 470_000_000, 500_000_000)[place]},
                {**shared, "scope": "resource", "resource": "inpatients", "grantee": "", "grant_id": "", "cap_nano": 2_000_000_000,
                 "spent_nano": 640_000_000, "renewal": "yearly", "renews_at_ms": 1_798_732_800_000}])


def _open(session: Session, scene: Scene, body: dict[str, Any]) -> None:
    """What is under way: a scenario in its first check, a draft, and a list that two hospitals have looked at."""
    developer = scene.actors["developer"]
    accepted = review.accepted_scenario(session, developer, title="区域医疗资源配置", sector="urban_governance",
                                        purpose="评估各区域住院需求，辅助床位配置。", public_benefit=True, benefit="床位配置更加均衡。")
    scene.scenarios["accepted"] = accepted.id
    demand = review.submitted_demand(session, developer, {**body, "term_days": 90}, scenario_id=accepted.id)
    scene.open_demand = demand.id
    for opinion in review.open_opinions(session, demand.id):
        authorisation.give_opinion(session, review.reviewer(opinion), opinion.id, "approve", note="材料齐全。")
    asked = [one for one in review.open_opinions(session, demand.id) if one.party == "source_department"]
    authorisation.give_opinion(session, review.reviewer(asked[0]), asked[0].id, "approve", note="同意。")
    authorisation.give_opinion(session, review.reviewer(asked[1]), asked[1].id, "approve", note="可以使用。",
                               comments={scene.resources[1]: "仅限汇总统计。"})
    scene.scenarios["draft"] = authorisation.propose_scenario(session, developer, authorisation.Content(
        **{**review.CONTENT, "title": "慢性病随访", "sector": "health", "purpose": "评估随访覆盖情况。"})).id
    waiting = authorisation.propose_scenario(session, developer, authorisation.Content(
        **{**review.CONTENT, "title": "急救资源调度", "sector": "health", "purpose": "评估急救到达时间。"}))
    scene.scenarios["submitted"] = authorisation.submit_scenario(session, developer, waiting.id).id
    scene.draft_demand = authorisation.draft_demand(session, developer, accepted.id, review.explained(body)).id


STATISTICS_PARAMS: dict[str, Any] = {
    "resource": "inpatients", "columns": ["cost", "systolic"], "group_by": [[], ["district"], ["district", "age_group"]],
    "histograms": [{"column": "systolic", "lower": 80.0, "upper": 220.0, "bins": 14}]}
MODEL_PARAMS: dict[str, Any] = {
    "resource": "inpatients", "family": "logistic", "target": "readmitted", "l2": 0.0, "split": {"fraction": 0.3},
    "features": ["age", "systolic", "cholesterol", "district"]}


def _moments(count: int, mean: float, sd: float) -> dict[str, float]:
    return {"count": count, "sum": count * mean, "mean": mean, "variance": sd * sd, "sd": sd}


def statistics_content() -> dict[str, Any]:
    """A plausible result of :data:`STATISTICS_PARAMS`."""
    def cell(group: dict[str, str], rows: int, shift: float) -> dict[str, Any]:
        return {"group": group, "rows": rows, "columns": {
            "cost": _moments(rows, 12840.55 + 1730.2 * shift, 5210.7), "systolic": _moments(rows, 131.42 + 3.1 * shift, 17.9)}}

    by_district = [cell({"district": name}, 2100 + 190 * place, place - 1.5) for place, name in enumerate(DISTRICTS)]
    cross = [cell({"district": name, "age_group": age}, 320 + 45 * old + 12 * place, place - 1.5 + 1.2 * old)
             for place, name in enumerate(DISTRICTS) for old, age in enumerate(AGES) if (place, old) != (3, 0)]
    width = 10.0
    counts = [round(2600 * math.exp(-((80 + width * (bin_ + .5) - 131) / 24) ** 2)) for bin_ in range(14)]
    return {"kind": "statistics", "resource": "inpatients", "rows": 9540, "departments": 4, "minimum_cohort": 10,
            "tables": [{"group_by": [], "cells": [cell({}, 9540, 0.1)], "suppressed": 0},
                       {"group_by": ["district"], "cells": by_district, "suppressed": 0},
                       {"group_by": ["district", "age_group"], "cells": cross, "suppressed": 1}],
            "histograms": [{"column": "systolic", "edges": [80 + width * place for place in range(15)],
                            "counts": [count if count >= 10 else None for count in counts],
                            "suppressed": sum(count < 10 for count in counts)}]}


QUERY = """SELECT month, district, count(*) AS n, avg(cost) AS mean_cost, stddev_samp(cost) AS sd_cost
FROM inpatients
WHERE age >= 18
GROUP BY month, district
ORDER BY month, district"""
NOISY_QUERY = "SELECT district, count(*) AS n, avg(cost) AS mean_cost FROM inpatients GROUP BY district ORDER BY district"
NUMBERS = ["age", "systolic", "cholesterol", "days"]
PARAMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "query": ("query", {"sql": QUERY}, "各区域逐月住院费用"),
    "trees": ("boosting", {"resource": "inpatients", "target": "readmitted", "features": [*NUMBERS, "district"], "rounds": 12,
                           "max_depth": 3, "validation": 0.2, "early_stopping_rounds": 5}, "再入院风险（提升树）"),
    "network": ("network", {"resource": "inpatients", "target": "readmitted", "features": NUMBERS, "hidden": [4], "rounds": 6,
                            "validation": 0.2}, "再入院风险（神经网络）"),
    "clusters": ("clustering", {"resource": "inpatients", "features": NUMBERS, "clusters": 3, "starts": 3, "max_rounds": 15}, "患者分群"),
    "components": ("components", {"resource": "inpatients", "features": NUMBERS}, "检查指标主成分"),
    "survival": ("survival", {"resource": "inpatients", "time": "days", "event": "readmitted", "features": ["age", "systolic"],
                              "times": {"upper": 60.0, "step": 1.0}}, "住院时长与再入院"),
}
NOISY: dict[str, tuple[str, dict[str, Any], str]] = {
    "noisy": ("query", {"sql": NOISY_QUERY}, "各区域住院费用（加噪）"),
    "noisy_clusters": ("clustering", {"resource": "inpatients", "features": NUMBERS, "clusters": 4, "rho_nano": 300_000_000}, "患者分群（加噪）"),
    "noisy_components": ("components", {"resource": "inpatients", "features": NUMBERS[:3], "rho_nano": 500_000_000}, "检查指标主成分（加噪）"),
}
PRIVACY: dict[str, Any] = {"unit": "person", "unit_columns": {"inpatients": "id_number"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1,
                           "delta": 1e-6, "rho_nano": 500_000_000, "honest_fraction": 0.5}


def computed(app: str, params: dict[str, Any], *, noisy: bool = False) -> tuple[dict[str, Any], list[Any]]:
    """What an app really gives over four hospitals' made-up rows, and what it tells meanwhile."""
    return played.computed(RESOURCE["columns"], app, params, PRIVACY if noisy else None)


def _submit(session: Session, scene: Scene, name: str, app: str, params: dict[str, Any], title: str, grant: str = "") -> None:
    job = computing.submit_job(session, scene.actors["developer"], grant_id=grant or scene.grant, app=app, params=params,
                               title=title, idempotency_key=f"scene-{name}")
    scene.jobs[name] = job.id


def begin(session: Session, scene: Scene, name: str) -> None:
    """The coordinator takes up a job."""
    run = runs.begin(session, scene.jobs[name], 1)
    assert run is not None
    runs.set_participants(session, run, scene.nodes)
    scene.runs[name] = run


def advance(session: Session, scene: Scene, name: str, round_: int, rounds: int, code: str = "round_finished", /,
            **args: Any) -> None:
    """One round of a job is done."""
    runs.record_progress(session, scene.jobs[name], [
        runs.ProgressLine(round=round_, rounds=rounds, code=code, level="info",
                          args={"round": round_, "rounds": rounds, "departments": 4, **args})])


def finish(session: Session, scene: Scene, name: str, content: dict[str, Any]) -> None:
    """A job's computation is done; its result goes to review."""
    app = apps.installed()[computing.get_job(session, SYSTEM, scene.jobs[name]).app_name].load()
    assert runs.finish(session, scene.runs[name], form={"table": "statistics"}.get(content["kind"], content["kind"]), content=content,
                       participants=scene.nodes, rows=content["rows_used" if content["kind"] == "table" else "rows"], content_model=app.content_model), computing.get_job(session, SYSTEM, scene.jobs[name]).error_code
    review = computing.review_of_job(session, scene.jobs[name])
    assert review is not None
    scene.reviews[name] = review.id


def approve(session: Session, scene: Scene, name: str) -> None:
    """Everybody who is asked lets a result out."""
    review.release(session, scene.reviews[name], "符合授权用途。")


def _jobs(session: Session, scene: Scene) -> None:
    plan = [("table", "statistics", STATISTICS_PARAMS, "各区域住院费用与血压"),
            ("model", "regression", MODEL_PARAMS, "三十天内再入院风险"),
            ("waiting", "statistics", STATISTICS_PARAMS, "各区域住院费用（更新）"),
            ("refused", "statistics", STATISTICS_PARAMS, "全市费用概览"),
            ("running", "regression", MODEL_PARAMS, "再入院风险（加严）"),
            ("failed", "statistics", STATISTICS_PARAMS, "老年组费用"),
            ("queued", "statistics", STATISTICS_PARAMS, "血压分布")]
    for name, app, params, title in plan:
        _submit(session, scene, name, app, params, title)
        if name != "queued":
            begin(session, scene, name)
    for name in ("table", "waiting", "refused"):
        advance(session, scene, name, 1, 1)
        finish(session, scene, name, statistics_content())
    content, told = computed("regression", MODEL_PARAMS)
    for round_, rounds, code, args in told:
        advance(session, scene, "model", round_, rounds, code, **args)
    finish(session, scene, "model", content)
    for name, (app, params, title) in PARAMS.items():
        _submit(session, scene, name, app, params, title)
        begin(session, scene, name)
        content, told = computed(app, params)
        for round_, rounds, code, args in told:
            advance(session, scene, name, round_, rounds, code, **args)
        finish(session, scene, name, content)
    for name, (app, params, title) in NOISY.items():
        _submit(session, scene, name, app, params, title, scene.noisy_grant)
        begin(session, scene, name)
        finish(session, scene, name, computed(app, params, noisy=True)[0])
    for name in ("table", "model", *NOISY, *PARAMS):
        approve(session, scene, name)
    computing.decide_review(session, scene.actors["authority"], scene.reviews["refused"], False, "分组过细，请减少维度。")
    for round_ in range(1, 6):
        advance(session, scene, "running", round_, 25, "round_loss", loss=0.42 + 0.25 / round_)
    runs.fail(session, scene.runs["failed"], "nodes_missing", {"connected": 2, "minimum": 3, "missing": "城西医院"})


def _products(session: Session, scene: Scene) -> None:
    developer, operator, consumer = (scene.actors[role] for role in ("developer", "operator", "consumer"))
    drafts: dict[str, dict[str, Any]] = {
        "table": {"delivery_form": "api", "title_zh": "区域住院费用统计", "title_en": "Inpatient cost by district",
                  "summary_zh": "四家医院联合统计的住院费用与血压，按区域和年龄段分组。",
                  "summary_en": "Inpatient cost and blood pressure over four hospitals, by district and age group.",
                  "description_zh": "用于保险产品定价与理赔审核参考。\n每个分组均不少于 10 条记录，原始病例始终留在各医院。",
                  "description_en": "For pricing insurance and checking claims.\nEvery group rests on ten records or more; the cases never left the hospitals."},
        "model": {"delivery_form": "model", "title_zh": "再入院风险评分", "title_en": "Readmission risk score",
                  "summary_zh": "根据年龄、血压等指标评估三十天内再入院的可能性。",
                  "summary_en": "How likely a patient is to return within thirty days, from age, blood pressure and more.",
                  "description_zh": "逻辑回归模型，由四家医院联合训练，训练全程采用安全聚合。",
                  "description_en": "A logistic regression trained by four hospitals together under secure aggregation."}}
    for name, texts in drafts.items():
        row = products.draft_product(session, developer, sector="health", **texts)
        products.create_version(session, developer, row.id, job_id=scene.jobs[name])
        pricing.set_price(session, developer, row.id, access_fee_fen=1_280_000, call_fee_fen=50, included_calls=1000)
        reviewed(session, scene, row.id)
        products.register_version(session, operator, row.id, 1)
        products.list_product(session, developer, row.id)
        scene.products[name] = row.id
    draft = products.draft_product(session, developer, sector="health", delivery_form="api", title_zh="住院费用概览",
                                   title_en="Inpatient cost at a glance", summary_zh="全市一张表。", summary_en="One table.")
    products.create_version(session, developer, draft.id, job_id=scene.jobs["table"])
    scene.products["draft"] = draft.id
    for name in ("table", "model"):
        order = commerce.place_order(session, consumer, product_id=scene.products[name], idempotency_key=f"scene-{name}")
        scene.orders[name] = order.id
    commerce.record_payment(session, operator, scene.orders["model"], bank_reference="ICBC-20261120-0042",
                            amount_fen=1_280_000)


def _sandbox(session: Session, scene: Scene) -> None:
    """The developer's sandbox with a run in it, and a distribution approved and one that waits."""
    from shuyan.jobs import digest_of

    developer, (waits, approved) = scene.actors["developer"], scene.resources[:2]
    spread = {"method": "measured", "epsilon": 1.0, "measured_at_ms": 1_795_000_000_000, "columns": [
        {"name": "district", "labels": DISTRICTS[:3], "weights": [520, 310, 170]},
        {"name": "age", "edges": [0.0, 18.0, 45.0, 65.0, 100.0], "weights": [90, 260, 350, 300]}]}
    for resource in (waits, approved):
        sandboxes.take_marginals(session, {RESOURCE["name"]: resource}, {RESOURCE["name"]: spread})
    owner = scene.actors[HOSPITALS[1][0]]
    sandboxes.decide_marginals(session, owner, approved, "approve", digest=sandboxes.get_marginals(session, owner, approved).digest)
    grant = authorisation.get_grant(session, developer, scene.grant)
    box = sandboxes.open_sandbox(session, developer, grant.scenario_id)
    scene.sandbox, app = box.id, apps.installed()["statistics"]
    parts = {"app": app.name, "app_digest": app.digest, "params": {"resource": RESOURCE["name"], "columns": ["cost"], "group_by": [["district"]]},
             "resources": {RESOURCE["name"]: ["cost", "district"]}}
    for error in (None, "cohort_too_small"):
        run = sandboxes.begin_run(session, developer, box.id, parts=parts, digest=digest_of(parts), rows=2_000,
                                  description_digest=sandboxes.describe(session, developer, box.id).digest)
        sandboxes.finish_run(session, developer, box.id, run.id, duration_ms=640, error_code=error,
                             result_digest=None if error else digest_of({}))


def reviewed(session: Session, scene: Scene, product_id: str, number: int = 1) -> None:
    """A drafted version of the developer's goes through its tests and every review."""
    products.run_tests(session, scene.actors["developer"], product_id, number)
    version = products.submit_version(session, scene.actors["developer"], product_id, number)
    for stage in ("security_test", "compliance_review"):
        if version.status == stage:
            products.pass_stage(session, scene.actors["operator"], product_id, number, ticked=CHECKLISTS[stage])
    if version.status == "egress_review":
        review.pass_egress(session, product_id, number)


def play(scene: Scene, name: str, content: dict[str, Any], told: list[Any], pause: float = 0.4) -> None:
    """Carry a queued job, by its name in the scene or its id, through its rounds while somebody watches."""
    scene.jobs.setdefault(name, name)
    with transaction() as session:
        begin(session, scene, name)
    for round_, rounds, code, args in told:
        time.sleep(pause)
        with transaction() as session:
            advance(session, scene, name, round_, rounds, code, **args)
    with transaction() as session:
        finish(session, scene, name, content)


__all__ = ["PASSWORD", "Scene", "build", "email", "play"]
