"""A small market for authorisation tests: four departments with one resource each, an authority, two developers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from marketplace.actor import Actor
from marketplace.catalogue.models import DataResource
from marketplace.computing.models import Node
from marketplace.parties.models import Organisation
from shuyan.trust import keys
from shuyan.trust.cards import NodeCard, sign_card

AUTHORITY = Actor("data_authority", "org_authority", "mem_a")
DEVELOPER = Actor("developer", "org_developer", "mem_d")
RIVAL = Actor("developer", "org_rival", "mem_r")
DEPARTMENT = Actor("source_department", "org_1", "mem_s")
OPERATOR = Actor("operator", "org_operator", "mem_o")
INDUSTRY = Actor("industry_department", "org_industry", "mem_i")

COLUMNS: list[dict[str, Any]] = [
    {"name": "id_number", "type": "string", "identifier": True, "domain": []},
    {"name": "age", "type": "integer", "identifier": False, "domain": []},
    {"name": "income", "type": "number", "identifier": False, "domain": []},
]
DISTRICT: dict[str, Any] = {"name": "district", "type": "string", "identifier": False}


@dataclass
class Market:
    """What a test needs to know of it."""

    authority_key: Ed25519PrivateKey
    cards: dict[str, NodeCard]


def build(database: Any) -> Market:
    """Fill the database and put the authority's public key where the settings expect it."""
    authority_key = keys.generate_signing_key()
    keys.save_public_key(database.settings.keys_dir / "authority.pub", authority_key.public_key())
    cards = {}
    with database.transaction() as session:
        for id_, kind, name in (("org_authority", "data_authority", "数据局"), ("org_developer", "developer", "开发公司"),
                                ("org_rival", "developer", "另一家公司"), ("org_operator", "operator", "运营公司"),
                                ("org_industry", "industry_department", "金融办")):
            session.add(Organisation(id=id_, kind=kind, name_zh=name, name_en=name))
        for number in range(1, 5):
            session.add(Organisation(id=f"org_{number}", kind="source_department", name_zh=f"部门{number}", name_en=""))
        session.flush()
        for number in range(1, 5):
            signing, agreement = keys.generate_signing_key(), keys.generate_agreement_key()
            card = sign_card(node_id=f"node_{number}", name=f"节点{number}", organisation=f"部门{number}",
                             signing_key=signing, agreement_key=keys.encode_public(agreement.public_key()))
            cards[card.node_id] = card
            session.add(Node(id=card.node_id, organisation_id=f"org_{number}", name=card.name, certificate_pem="",
                             certificate_serial=str(number), signing_key=card.signing_key,
                             agreement_key=card.agreement_key))
        session.flush()
        for number in range(1, 5):
            session.add(DataResource(id=f"res_{number}", node_id=f"node_{number}", organisation_id=f"org_{number}",
                                     name="households", title="住户", sector="livelihood", grade=3, row_count=100,
                                     columns=[*COLUMNS, {**DISTRICT, "domain": ["共有", f"区{number}"]}]))
        session.add(DataResource(id="res_core", node_id="node_1", organisation_id="org_1", name="core", title="核心",
                                 sector="livelihood", grade=4, row_count=100, columns=COLUMNS))
    return Market(authority_key, cards)


def body(**changes: Any) -> dict[str, Any]:
    """A demand that may be put forward, with ``changes``."""
    return {"resources": [{"resource_id": f"res_{n}", "columns": ["age", "income"]} for n in (1, 2, 3)],
            "apps": ["statistics"], "minimum_cohort": 10, "minimum_participants": 3, "output_forms": ["statistics"],
            "term_days": 90} | changes


def privacy(**changes: Any) -> dict[str, Any]:
    """Privacy terms of a demand, with ``changes``."""
    return {"unit": "person", "unit_columns": {"households": "id_number"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1,
            "delta": 1e-6, "epsilon": 1.0} | changes
