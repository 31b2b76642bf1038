"""How values spread: measured with noise, charged, and sent only once the administrator approved it."""

from __future__ import annotations

import pytest

from node_agent.admin import Admin
from node_agent.config import NodeDir
from node_agent.keys import NodeKeys
from shuyan.mockdata import Marginal
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2


def problem(code):
    return pytest.raises(ProblemError, match=f"^{code}:")


@pytest.fixture
def admin(place):
    node_dir = NodeDir(place / "node")
    node_dir.create()
    NodeKeys.create(node_dir)
    made = Admin(node_dir, apps={})
    path = node_dir.path.parent / "visits.csv"
    rows = [f"p{n},{'AB'[n % 10 == 0]},{n % 100},{'true' if n % 4 else 'false'},2024-0{1 + n % 9}-01,x{n}" for n in range(1_000)]
    rows += ["q,C,5,true,2024-01-01,y"] * 3  # a small cell
    path.write_text("patient,ward,cost,again,day,note\n" + "\n".join(rows) + "\n")
    made.AddSource(local_pb2.AddSourceRequest(name="visits", location=str(path)))
    resource = link_pb2.Resource(name="visits", title="就诊", sector="health", grade=2, approval="automatic")
    for name in ("patient", "ward", "cost", "again", "day", "note"):
        column = resource.columns.add(name=name, identifier=name == "patient")
        if name == "ward":
            column.domain.append("*")
        if name == "cost":
            column.lower, column.upper = 0, 100
    made.RegisterResource(local_pb2.RegisterResourceRequest(source="visits", resource=resource, accept_classification=False))
    made.SetBudget(local_pb2.SetBudgetRequest(resource="visits", cap_nano=2_000_000_000))
    yield made
    made.close()


def sent(admin):
    return admin.resources.frame().resources[0]


def measure(admin, epsilon=2.0, columns=()):
    return admin.MeasureMarginals(local_pb2.MeasureMarginalsRequest(name="visits", epsilon=epsilon, columns=columns))


def test_what_is_measured_leaves_once_it_is_approved_and_never_otherwise(admin):
    found = measure(admin).measured
    said = {column.name: column for column in found.columns}
    assert set(said) == {"ward", "cost", "again", "day"}  # no identifier, nothing without a declaration
    ward = dict(zip(said["ward"].labels, said["ward"].weights, strict=True))
    assert ward["C"] in range(15)  # three rows: left out, or lifted over ten by the noise
    assert ward["A"] in range(850, 950)
    assert sum(said["cost"].weights) in range(990, 1011)
    for column in found.columns:  # all of them are what sandboxes take
        Marginal(labels=tuple(column.labels), edges=tuple(column.edges), days=tuple(column.days), weights=tuple(column.weights))
    assert not sent(admin).HasField("marginals")
    approved = admin.ApproveMarginals(local_pb2.ApproveMarginalsRequest(name="visits"))
    assert approved.approved == found
    assert not approved.HasField("measured")
    assert sent(admin).marginals == found
    admin.RefreshResources(local_pb2.RefreshResourcesRequest(name="visits"))
    assert sent(admin).marginals == found
    admin.WithdrawMarginals(local_pb2.MarginalsRequest(name="visits"))
    assert not sent(admin).HasField("marginals")
    with problem("marginals_none"):
        admin.ApproveMarginals(local_pb2.ApproveMarginalsRequest(name="visits"))
    assert [entry.event for entry in admin.journal.read(0, 100) if entry.event.startswith("marginals:")] == [
        "marginals:measured", "marginals:approved", "marginals:withdrawn"]


def test_measuring_again_and_again_ends_with_the_budget(admin):
    with problem("budget_exhausted"):
        for _ in range(50):
            measure(admin, epsilon=1.0, columns=["ward"])  # half a ρ each
    admin.ReadJournal(local_pb2.ReadJournalRequest(verify=True))  # the ledger is what the journal says


def test_what_cannot_be_is_refused(admin):
    for epsilon in (0.0, -1.0, 11.0, float("nan")):
        with problem("marginals_epsilon"):
            measure(admin, epsilon=epsilon)
    for column in ("patient", "note", "none"):
        with problem("marginals_column"):
            measure(admin, columns=[column])
    with problem("resource_not_found"):
        admin.ShowMarginals(local_pb2.MarginalsRequest(name="none"))


def test_one_written_by_hand_must_fit_what_is_declared(admin):
    good = link_pb2.Marginals(columns=[link_pb2.ColumnMarginal(name="ward", labels=["A", "B"], weights=[900, 100])])
    found = admin.ApproveMarginals(local_pb2.ApproveMarginalsRequest(name="visits", declared=good))
    assert (found.approved.method, found.approved.epsilon) == ("declared", 0)
    for column in ({"name": "ward", "labels": ["Z"], "weights": [1]}, {"name": "cost", "edges": [0, 500], "weights": [1]},
                   {"name": "patient", "labels": ["p1"], "weights": [1]}, {"name": "none", "labels": ["a"], "weights": [1]},
                   {"name": "ward", "labels": ["A"], "weights": [0]}):
        with problem("marginals_unfit"):
            admin.ApproveMarginals(local_pb2.ApproveMarginalsRequest(
                name="visits", declared=link_pb2.Marginals(columns=[link_pb2.ColumnMarginal(**column)])))


def test_nothing_slips_out_with_a_registration(admin):
    resource = sent(admin)
    resource.marginals.method = "declared"
    admin.RegisterResource(local_pb2.RegisterResourceRequest(source="visits", resource=resource))
    assert not sent(admin).HasField("marginals")
