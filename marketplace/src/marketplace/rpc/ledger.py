"""What the links write down: arrivals, resources, cosignatures. Each function is a use case and the frames it answers with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.computing import approvals, nodes
from marketplace.computing import budgets as spent
from marketplace.db import utc_now
from marketplace.logging import get_logger
from marketplace.rpc import database
from marketplace.sandboxes import service as sandboxes
from marketplace.trust import service as trust
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2 as pb

if TYPE_CHECKING:
    from marketplace.rpc.link import Link

log = get_logger("link")

Frames = Sequence[pb.CoordinatorFrame]


async def arrived(node_id: str, serial: str, hello: pb.Hello) -> bool:
    """Whether the node of this certificate may be linked; if so it is recorded as connected."""
    def use_case(session: Session) -> bool:
        node = nodes.nodes_by_id(session, [node_id]).get(node_id)
        if node is None or node.certificate_serial != serial:
            return False
        apps = [{"name": app.name, "digest": app.digest} for app in hello.apps]
        number = min(hello.revocations_number, 2**31 - 1)
        known = nodes.node_connected(session, node_id, software_version=hello.software_version, apps=apps, revocations_seen=number)
        if known is not None:
            authorisation.revocations_seen(session, node_id, number)
        return known is not None

    return await database.write(use_case)


async def left(node_id: str, back_already: Callable[[], bool]) -> None:
    """The node's current link has ended; a newer one may have come up while this waited its turn."""
    def use_case(session: Session) -> None:
        if not back_already():
            nodes.nodes_disconnected(session, [node_id])

    await database.write(use_case)


async def greet(link: Link) -> Frames:
    """What a node that has just arrived may have missed: revocations, holds, and a checkpoint to cosign."""
    held = await database.read(authorisation.held_by_node)
    return [*await revocations(link), *holds(link, held), *await checkpoint(link)]


async def revocations(link: Link) -> Frames:
    """The newest revocation list, if the node has an older one."""
    latest = await database.read(authorisation.latest_revocations)
    if latest is None or latest.number <= link.revocations_number:
        return []
    link.revocations_number = latest.number
    return [pb.CoordinatorFrame(revocations=pb.Revocations(list=latest.jws))]


def holds(link: Link, held: Mapping[str, authorisation.HeldThere]) -> Frames:
    """The grants held at the link's node, if that is not what it was told last. It may have kept others from before.

    A second hold of a grant is told too: the node is to answer for each.
    """
    told = held.get(link.node_id, authorisation.NOTHING_HELD)
    if link.holds == told:
        return []
    link.holds, link.holds_number = told, link.holds_number + 1
    return [pb.CoordinatorFrame(holds=pb.Holds(grant_ids=told.grants, number=link.holds_number))]


async def holds_seen(link: Link, number: int) -> Frames:
    """The node has stopped what it was told last to hold; what it says of an earlier telling is out of date."""
    if link.holds is not None and number == link.holds_number and link.holds.holds:
        await database.write(authorisation.holds_seen, link.node_id, link.holds.holds)
    return []


async def checkpoint(link: Link) -> Frames:
    """The newest checkpoint, if it is beyond what the node cosigned, with the proof that the log only grew."""
    def use_case(session: Session) -> tuple[str, int, list[bytes]] | None:
        newest = trust.latest_checkpoint(session)
        if newest is None or newest.size <= link.cosigned_size:
            return None
        proof = trust.consistency_proof(session, link.cosigned_size, newest.size) if link.cosigned_size else []
        return newest.note, newest.size, list(proof)

    found = await database.read(use_case)
    if found is None:
        return []
    note, _, proof = found
    return [pb.CoordinatorFrame(checkpoint=pb.Checkpoint(
        note=note, consistency_proof=proof, from_size=link.cosigned_size))]


async def cosignature(link: Link, message: pb.Cosignature) -> Frames:
    """Verify and keep a node's cosignature."""
    await database.write(trust.add_cosignature, link.node_id, message.size, message.line)
    link.cosigned_size = max(link.cosigned_size, message.size)
    return []


async def revocations_seen(link: Link, number: int) -> Frames:
    """The node holds this revocation list."""
    def use_case(session: Session) -> None:
        held = min(number, 2**31 - 1)
        nodes.revocations_seen(session, link.node_id, held)
        authorisation.revocations_seen(session, link.node_id, held)

    await database.write(use_case)
    return []


async def approvals_decided(link: Link, message: pb.ApprovalsDecided) -> Frames:
    """What the department decided: jobs that wait for it go on or end."""
    if await database.read(approvals.waited_for, link.node_id):
        await database.write(approvals.decided, link.node_id,
                             {item.approval_id: item.approved for item in message.decisions})
    return []


async def budgets(link: Link, message: pb.Budgets) -> Frames:
    """Keep what the node says may still be spent of privacy."""
    told = [{"scope": item.scope, "resource": item.resource, "grantee": item.grantee, "grant_id": item.grant_id,
             "cap_nano": item.cap_nano, "spent_nano": item.spent_nano, "renewal": item.renewal or "never",
             "renews_at_ms": item.renews_at_ms, "delta": item.delta} for item in message.budgets]
    await database.write(spent.sync, link.node_id, told)
    return []


async def resources(link: Link, message: pb.Resources) -> Frames:
    """Make the catalogue equal to what the node offers."""
    described = [description(item) for item in message.resources]
    spread = {item.name: _marginals(item.marginals) if item.HasField("marginals") else None for item in message.resources}

    def use_case(session: Session) -> dict[str, str]:
        node = nodes.nodes_by_id(session, [link.node_id])[link.node_id]
        ids = catalogue.sync_resources(session, node, described)
        sandboxes.take_marginals(session, ids, spread)
        return ids

    try:
        ids = await database.write(use_case)
    except ProblemError as problem:
        log.warning("resources refused", node_id=link.node_id, code=problem.code)
        return [pb.CoordinatorFrame(resources_accepted=pb.ResourcesAccepted())]
    log.info("resources registered", node_id=link.node_id, count=len(ids))
    return [pb.CoordinatorFrame(resources_accepted=pb.ResourcesAccepted(resource_ids=ids))]


def description(resource: pb.Resource) -> dict[str, Any]:
    """A resource as the catalogue's rules take it."""
    columns = []
    for column in resource.columns:
        item: dict[str, Any] = {"name": column.name, "type": column.type, "title": column.title,
                                "identifier": column.identifier, "domain": list(column.domain), "unit": column.unit}
        for bound in ("lower", "upper", "resolution"):
            item[bound] = getattr(column, bound) if column.HasField(bound) else None
        item["classification"], item["required"] = column.classification, column.required
        item |= {"element": column.element, "source": column.authoritative}
        columns.append(item)
    return {"name": resource.name, "profile": _profile(resource.profile) if resource.HasField("profile") else None,
            "standard": resource.standard, "frequency": resource.update_frequency, "steward": resource.steward,
            "tags": list(resource.tags), "title": resource.title, "title_en": resource.title_en,
            "description": resource.description, "sector": resource.sector, "grade": resource.grade,
            "row_count": resource.row_count, "approval": resource.approval, "columns": columns}


def _marginals(marginals: pb.Marginals) -> dict[str, Any]:
    return {"method": marginals.method, "epsilon": marginals.epsilon, "measured_at_ms": marginals.measured_at_ms,
            "columns": [{"name": column.name, "labels": list(column.labels), "edges": list(column.edges), "days": list(column.days),
                         "weights": list(column.weights)} for column in marginals.columns]}


def _profile(profile: pb.Profile) -> dict[str, Any]:
    return {"measured_at_ms": profile.measured_at_ms, "completeness": profile.completeness, "validity": profile.validity,
            "uniqueness": profile.uniqueness, "timeliness": profile.timeliness if profile.HasField("timeliness") else None,
            "date_column": profile.date_column, "latest_month": profile.latest_month,
            "columns": [{"name": column.name, "completeness": column.completeness, "validity": column.validity}
                        for column in profile.columns]}


async def active_and_newest() -> tuple[set[str], int, int, dict[str, authorisation.HeldThere]]:
    """Which nodes may be linked, the newest revocation list's number, the newest checkpoint's size, and by node the held grants."""
    def use_case(session: Session) -> tuple[set[str], int, int, dict[str, authorisation.HeldThere]]:
        latest, newest = authorisation.latest_revocations(session), trust.latest_checkpoint(session)
        return (nodes.active_nodes(session), latest.number if latest else 0, newest.size if newest else 0,
                authorisation.held_by_node(session))

    return await database.read(use_case)


async def sign_checkpoint() -> None:
    """Sign the log's state if it has grown."""
    if await database.read(trust.needs_checkpoint):
        await database.write(trust.make_checkpoint)


async def seen(node_ids: Sequence[str]) -> None:
    """These nodes are linked now."""
    now: dt.datetime = utc_now()
    if node_ids:
        await database.write(nodes.nodes_seen, dict.fromkeys(node_ids, now))


async def nobody_linked() -> None:
    """A coordinator that starts knows of no link."""
    await database.write(nodes.nodes_disconnected)
