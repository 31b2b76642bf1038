"""Departments with small tables, a developer and a signed grant, made through the services, for tests of computing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.factories import review
from tests.factories.agreements import operation_agreement

from marketplace import db
from marketplace.actor import SYSTEM, Actor
from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.computing import nodes
from marketplace.parties import service as parties
from marketplace.settings import settings
from shuyan.federation.apps import installed
from shuyan.federation.local import LocalNode, LocalResource, LocalTransport
from shuyan.federation.masking import AgreementKey
from shuyan.federation.schema import Column
from shuyan.trust import keys

AIR = [
    {"name": "pm25", "type": "number", "title": "PM2.5", "identifier": False, "domain": [], "unit": "µg/m³",
     "lower": None, "upper": None},
    {"name": "year", "type": "integer", "title": "年", "identifier": False, "domain": ["2013", "2014"], "unit": "",
     "lower": None, "upper": None},
    {"name": "wind", "type": "string", "title": "风向", "identifier": False, "domain": ["N", "S"], "unit": "",
     "lower": None, "upper": None},
    {"name": "remark", "type": "string", "title": "备注", "identifier": False, "domain": [], "unit": "", "lower": None,
     "upper": None},
    {"name": "sensor", "type": "string", "title": "传感器编号", "identifier": True, "domain": [], "unit": "",
     "lower": None, "upper": None},
]
SCHEMA = {item["name"]: Column(item["name"], item["type"], item["identifier"], tuple(item["domain"])) for item in AIR}
PARAMS = {"resource": "air", "columns": ["pm25"], "group_by": [[], ["year"]]}


def air(name: str = "air", **changes: Any) -> dict[str, Any]:
    """A resource as a node describes it."""
    return {"name": name, "title": "空气质量", "title_en": "Air quality", "description": "逐时监测值",
            "sector": "environment", "grade": 2, "row_count": 40, "columns": AIR, "approval": "automatic", **changes}


Certify = Callable[[str], tuple[str, bytes, bytes]]
"""Node id → serial, TLS key and certificate chain (PEM)."""


@dataclass
class Department:
    """One department: its node in the market and the same node answering tasks."""

    node_id: str
    organisation_id: str
    local: LocalNode
    signing_key: Ed25519PrivateKey
    resource_id: str = ""
    tls_key: bytes = b""
    tls_chain: bytes = b""


@dataclass
class Zone:
    """What :func:`zone` made."""

    authority_key: Ed25519PrivateKey
    developer: Actor
    authority: Actor
    operator: Actor
    departments: list[Department] = field(default_factory=list)
    grant_id: str = ""
    demand_id: str = ""

    def transport(self, *, record: bool = False) -> RunTransport:
        return RunTransport([one.local for one in self.departments], record=record)

    def grant(self, *, apps: Sequence[str] = ("statistics", "regression"),
              columns: Sequence[str] = ("pm25", "year", "wind", "remark"), release: str = "exact",
              privacy: dict[str, Any] | None = None, **changes: Any) -> str:
        """A new grant on everything; the grant's id. ``changes`` are of the claims."""
        body = {"resources": [{"resource_id": one.resource_id, "columns": [*columns]} for one in self.departments],
                "apps": [*apps], "minimum_cohort": 10, "minimum_participants": 3,
                "output_forms": ["statistics", "model"], "term_days": 30, "release": release, "privacy": privacy}
        with db.transaction() as session:
            record = review.granted(session, self.developer, self.authority, self.authority_key, body, claims=changes,
                                    title="空气", purpose="研究空气质量", sector="environment")
        return record.id


class RunTransport(LocalTransport):
    """The in-process transport, with what the coordinator's own adds."""

    def forget(self, run_id: str) -> None:
        """Nothing is remembered."""


def values(seed: int, rows: int = 40) -> dict[str, list[Any]]:
    """One department's table; every second row is of 2013."""
    return {"pm25": [float(seed * 100 + row) for row in range(rows)], "year": [2013 + row % 2 for row in range(rows)],
            "wind": ["NS"[row % 2] for row in range(rows)], "remark": ["-"] * rows, "sensor": [str(row) for row in range(rows)]}


def parties_of(session: Any) -> tuple[Actor, Actor, Actor]:
    """Developer, data authority and operator."""
    actors = []
    for kind in ("developer", "data_authority", "operator"):
        parties.register_organisation(session, SYSTEM, kind=kind, name_zh=kind, name_en=kind, organisation_id=f"org_{kind}")
        actors.append(Actor(kind, f"org_{kind}", member_id=f"mem_{kind}"))  # type: ignore[arg-type]
    return actors[0], actors[1], actors[2]


def zone(count: int = 3, *, rows: int = 40, certify: Certify | None = None, mode: str = "overall") -> Zone:
    """A market with ``count`` departments of one schema and a grant on all of it, in the current database.

    Args:
        mode: of the operation agreement; ``org_industry`` answers for the sector in others than ``overall``.
    """
    authority_key = Ed25519PrivateKey.generate()
    keys.save_public_key(settings().keys_dir / "authority.pub", authority_key.public_key())
    with db.transaction() as session:
        made = Zone(authority_key, *parties_of(session))
        for number in range(count):
            made.departments.append(_department(session, authority_key, number, rows, certify))
        if mode != "overall":
            parties.register_organisation(session, SYSTEM, kind="industry_department", name_zh="环境局", name_en="Environment",
                                          organisation_id="org_industry")
            operation_agreement(session, made.authority, made.operator, mode=mode, sectors=["environment"])
            authorisation.assign_sector(session, made.authority, "environment", "org_industry")
    made.grant_id = made.grant()
    return made


def _department(session: Any, authority_key: Ed25519PrivateKey, number: int, rows: int,
                certify: Certify | None) -> Department:
    organisation = parties.register_organisation(
        session, SYSTEM, kind="source_department", name_zh=f"监测站{number}", name_en=f"Station {number}",
        organisation_id=f"org_station{number}")
    invitation = nodes.invite_node(session, SYSTEM, organisation_id=organisation.id, name=f"监测站{number}")
    node_id, key, signing = nodes.new_node_id(), AgreementKey.generate(), Ed25519PrivateKey.generate()
    serial, tls_key, tls_chain = certify(node_id) if certify else (f"serial-{number}", b"", b"")
    row = nodes.enrol_node(
        session, nodes.consume_invitation(session, invitation.code), node_id=node_id, certificate_pem="",
        certificate_serial=serial, signing_key=signing.public_key().public_bytes_raw(),
        agreement_key=key.public, software_version="0.1.0")
    ids = catalogue.sync_resources(session, row, [air(row_count=rows)])
    local = LocalNode(node_id, {"air": LocalResource.arrays(values(number, rows), SCHEMA)}, authority_key.public_key(),
                      installed(), key=key)
    return Department(node_id, organisation.id, local, signing, ids["air"], tls_key, tls_chain)


def eventually(condition: Any, seconds: float = 20.0) -> Any:
    """The first true value of ``condition()``; fails when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError("it did not come about in time")
        time.sleep(0.01)
