"""A coordinator that lies about who takes part, repeats rounds and changes what it passes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shuyan.federation import problems
from shuyan.federation.differencing import GuardRules
from shuyan.federation.grid import Sum
from shuyan.federation.local import LocalFederation
from shuyan.federation.masking import AgreementKey
from shuyan.federation.transport import NodeFailure, OpenRequest, TaskRequest
from shuyan.problems import ProblemError
from shuyan.trust.grants import sign_grant
from shuyan.trust.keys import b64url, generate_signing_key

from .conftest import City, Tables

Figure = Callable[[str, object], None]
ONE = {"resource": "patients", "columns": ["cost"], "group_by": []}
MORE = {"resource": "patients", "columns": ["cost", "age"], "group_by": []}


def tally(federation: LocalFederation, params: dict[str, Any], participants: tuple[str, ...]) -> Sum:
    """One round of whatever is asked of whomever."""
    grid = federation.grid("statistics", params, participants=participants)
    width = len(params["columns"])
    return grid.secure_sum("query.tally", expect={"rows": 1, **dict.fromkeys(("count", "sum"), width)})


def cost(total: Sum) -> float:
    return total.vectors["sum"][0]


def exposes(federation: LocalFederation, questions: list[tuple[dict[str, Any], tuple[str, ...]]],
            combine: Callable[[list[float]], float], own: float) -> bool:
    """Whether sums that the nodes grant combine to one hospital's own."""
    try:
        found = combine([cost(tally(federation, params, who)) for params, who in questions])
    except NodeFailure as failure:
        if failure.code not in (problems.PARTICIPANTS_DIFFER, problems.QUESTION_ANSWERED_WITH_OTHERS):
            raise
        return False
    return bool(abs(found - own) < 0.01)


def test_the_same_rows_of_fewer_departments(city: City, tables: Tables, figure: Figure) -> None:
    """A column more makes it another question, and the sums of five and of four hospitals are one's figure."""
    everybody = tuple(tables)
    own = float(tables[everybody[-1]]["cost"].sum())
    told = {}
    for guarded in (False, True):
        told[guarded] = exposes(city(guarded=guarded), [(ONE, everybody), (MORE, everybody[:-1])],
                                lambda sums: sums[0] - sums[1], own)
    figure("fewer departments: one hospital's figure without and with the guard", (told[False], told[True]))
    assert told == {False: True, True: False}


def test_departments_exchanged(city: City, tables: Tables, figure: Figure) -> None:
    """Each pair of lists differs by two; together they give one hospital away."""
    a, b, c, d, e = tables
    questions = [(ONE, (a, b, c)), (MORE, (a, b, d)), ({**MORE, "columns": ["cost", "ill"]}, (a, c, d)),
                 ({**MORE, "columns": ["cost", "age", "ill"]}, (b, c, d))]
    own = float(tables[a]["cost"].sum())

    def combine(sums: list[float]) -> float:
        return (sums[0] + sums[1] + sums[2] - 2 * sums[3]) / 3

    told = {guarded: exposes(city(guarded=guarded), questions, combine, own) for guarded in (False, True)}
    figure("departments exchanged: one hospital's figure without and with the guard", (told[False], told[True]))
    assert told == {False: True, True: False}
    assert e


def test_a_drop_out_claimed_in_the_middle_of_training(city: City, tables: Tables, figure: Figure) -> None:
    """The next round's question is new, so that only the rows and columns tell that it is related."""
    told = {}
    for participants in ("strict", "run"):
        federation = city(rules=GuardRules(participants=participants))  # type: ignore[arg-type]
        grid = federation.grid("regression", {
            "resource": "patients", "family": "linear", "target": "cost", "features": ["age"]})
        submit = federation.transport.submit

        def claim(request: TaskRequest, submit: Any = submit, federation: LocalFederation = federation) -> Any:
            if request.round == 2:
                federation.transport.offline.add("hospital-4")
            return submit(request)

        federation.transport.submit = claim  # type: ignore[method-assign]
        try:
            told[participants] = federation.apps["regression"].load().run(grid)["departments"]
        except NodeFailure as failure:
            told[participants] = failure.code
    figure("claimed drop-out in training: strict, and where a department lets runs go on", tuple(told.values()))
    assert told == {"strict": problems.PARTICIPANTS_DIFFER, "run": 4}


@pytest.mark.parametrize("who", [
    ("hospital-0", "hospital-1"), ("hospital-0", "hospital-0", "hospital-1"), ("hospital-0", "hospital-1", "stranger"),
    ("hospital-2", "hospital-1", "hospital-0")])
def test_false_participants(city: City, who: tuple[str, ...]) -> None:
    """Two, one twice, somebody else, another order: each would leave masks that the coordinator could take off."""
    federation = city()
    request = captured(federation)
    with pytest.raises(ProblemError) as caught:
        federation.nodes["hospital-0"].answer(dataclasses.replace(request, task_id="new", participants=who))
    assert caught.value.code in (problems.PARTICIPANTS_INVALID, problems.PARTICIPANTS_TOO_FEW)


def captured(federation: LocalFederation) -> TaskRequest:
    """The first request to hospital-0 of an honest run."""
    seen: list[TaskRequest] = []
    submit = federation.transport.submit

    def see(request: TaskRequest) -> Any:
        seen.append(request)
        return submit(request)

    federation.transport.submit = see  # type: ignore[method-assign]
    tally(federation, ONE, tuple(federation.nodes))
    return next(request for request in seen if request.node_id == "hospital-0")


def test_rounds_played_again(city: City, figure: Figure) -> None:
    """The same task gives the same bytes, other content under its id nothing, and a second attempt is not opened."""
    federation = city()
    request, node = captured(federation), federation.nodes["hospital-0"]
    assert node.answer(request).flower_message == node.answer(request).flower_message
    with pytest.raises(ProblemError) as caught:
        node.answer(dataclasses.replace(request, params_json=request.params_json.replace("cost", "age")))
    assert caught.value.code == problems.TASK_REPLAYED
    again = dataclasses.replace(request, task_id="again", attempt=2, participants=request.participants[:-1])

    def answer_and_open() -> None:
        node.answer(again)
        node.open(OpenRequest("again", "hospital-0", request.run_id, request.round, 2))

    with pytest.raises(ProblemError) as refused:
        answer_and_open()
    assert refused.value.code in (problems.ALREADY_OPENED, problems.QUESTION_ANSWERED_WITH_OTHERS, problems.PARTICIPANTS_DIFFER)
    figure("replayed rounds: a second attempt", refused.value.code)


def test_keys_exchanged(city: City, figure: Figure) -> None:
    """A coordinator that could name its own key for a peer would know that pair's mask."""
    federation = city()
    request, node = captured(federation), federation.nodes["hospital-0"]
    own = b64url(AgreementKey.generate().public)
    nodes = tuple(peer.model_copy(update={"agreement_key": own}) if peer.node_id == "hospital-1" else peer
                  for peer in federation.grant.nodes)
    forged = sign_grant(federation.grant.model_copy(update={"nodes": nodes}), generate_signing_key())
    with pytest.raises(ProblemError) as caught:
        node.answer(dataclasses.replace(request, task_id="forged", grant=forged))
    figure("keys exchanged in a grant signed by somebody else", caught.value.code)
    assert caught.value.code == "grant_invalid"


def test_masked_answers_alone(city: City, figure: Figure) -> None:
    """What the coordinator holds before opening: as good as random, whatever the data."""
    federation = city(record=True)
    tally(federation, ONE, tuple(federation.nodes))
    replies = [item.flower_message for item in federation.transport.carried if hasattr(item, "flower_message")
               and not isinstance(item, TaskRequest)]
    bits = np.unpackbits(np.frombuffer(b"".join(reply[-400:] for reply in replies), dtype=np.uint8))
    assert len(replies) == 5
    figure("masked answers: share of ones among their last bits", round(float(bits.mean()), 2))
