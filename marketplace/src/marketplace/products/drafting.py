"""Use cases of drafting: a product, its texts, and versions bound to approved results."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlmodel import Session

from marketplace.access import require_organisation, require_scope
from marketplace.actor import Actor
from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.db import storable
from marketplace.digests import digest
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.products import rules
from marketplace.products.errors import BAD_TEXT, OUTPUT_USED, TEXTS_IN_USE
from marketplace.products.models import Product, ProductVersion
from marketplace.products.reading import locked_product, locked_version, owned_product, versions_of
from marketplace.registration import service as registration
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

TEXTS: Final[dict[str, tuple[int, int]]] = {
    "title_zh": (1, 100), "title_en": (1, 200), "summary_zh": (0, 300), "summary_en": (0, 600),
    "description_zh": (0, 10_000), "description_en": (0, 20_000), "terms_zh": (0, 10_000), "terms_en": (0, 20_000)}
"""The texts of a product, with the fewest and most characters of each."""


def draft_product(session: Session, actor: Actor, *, sector: str, delivery_form: str, tier: int | None = None,
                  **texts: str) -> Product:
    """Draft a product of the actor's organisation; ``texts`` are some of :data:`TEXTS`, both titles among them.

    Raises:
        ProblemError: ``not_allowed``, ``wrong_tier``, ``unknown_sector``, ``unknown_delivery_form``,
            ``product_text_invalid`` naming the field, ``second_tier_controlled`` for a developer that an operator controls.
    """
    require_scope(actor, "products")
    owner = require_organisation(actor)
    own_tier = rules.check_draft(actor.party, tier, sector, delivery_form)
    rules.DRAFT.require(actor)
    if own_tier == 2:
        registration.require_second_tier(session, owner)
    checked: dict[str, Any] = _checked({"title_zh": "", "title_en": "", **texts})
    row = Product(id=new_id("prod"), organisation_id=owner, tier=own_tier, sector=sector, delivery_form=delivery_form, **checked)
    session.add(row)
    session.flush()
    trust.append(session, Tag.PRODUCT_DRAFTED, actor, row.id, related=[owner],
                 data={"tier": row.tier, "sector": sector, "delivery_form": delivery_form})
    return row


def edit_product(session: Session, actor: Actor, product_id: str, **texts: str) -> Product:
    """Change some of the texts while nobody buys or reviews by them. The same texts again change nothing.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``product_text_invalid``, ``product_texts_in_use``.
    """
    product = owned_product(session, actor, product_id)
    new = {name: value for name, value in _checked(texts).items() if getattr(product, name) != value}
    if not new:
        return product
    if product.status == "listed" or any(row.status in (*rules.IN_REVIEW, "cleared") for row in versions_of(session, product_id)):
        raise ProblemError(TEXTS_IN_USE)
    for name, value in new.items():
        setattr(product, name, value)
    session.add(product)
    trust.append(session, Tag.PRODUCT_CHANGED, actor, product_id, data={"texts": texts_digest(product)})
    return product


def _checked(texts: Mapping[str, str]) -> dict[str, str]:
    out = {}
    for name, value in texts.items():
        least, most = TEXTS[name]
        value = value.strip().replace("\r\n", "\n")
        printable = all(character == "\n" or unicodedata.category(character) not in ("Cc", "Cs", "Co", "Cn") for character in value)
        if not least <= len(value) <= most or not printable or not storable(value):
            raise ProblemError(BAD_TEXT, field=name, minimum=least, maximum=most)
        out[name] = value
    return out


def texts_digest(product: Product) -> str:
    """The digest of everything that a reviewer reads of a product."""
    return digest({name: getattr(product, name) for name in TEXTS})


def create_version(session: Session, actor: Actor, product_id: str, *, job_id: str) -> ProductVersion:
    """Bind the approved result of one of the organisation's jobs to the product as its next version.

    The same result makes a second version only for texts that were changed since.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, what :func:`computing.service.approved_output` raises for a
            result that has not passed the egress review, ``wrong_output_form``, ``output_already_used``.
    """
    product = owned_product(session, actor, product_id)
    job = computing.get_job(session, actor, job_id)
    if job.organisation_id != product.organisation_id:
        raise ProblemError("not_found", what="job")
    output = computing.approved_output(session, job_id)
    rules.check_output_form(product.delivery_form, output.form)
    existing, texts = versions_of(session, product_id), texts_digest(product)
    for version in existing:
        if version.output_id == output.id and version.status != "withdrawn" and version.texts_digest in ("", texts):
            raise ProblemError(OUTPUT_USED, number=version.number)
    number = existing[0].number + 1 if existing else 1
    record = authorisation.get_grant(session, actor, job.grant_id)
    manifest = rules.manifest(
        product_id=product_id, number=number, job_id=job_id, output_id=output.id, output_digest=output.digest,
        form=output.form, app={"name": job.app_name, "digest": job.app_digest},
        grant={"id": record.id, "digest": record.digest},
        participants=_participants(session, output.participants, computing.resources_of(job)), rows=output.rows,
        content=output.content)
    row = ProductVersion(id=new_id("ver"), product_id=product_id, number=number, job_id=job_id, grant_id=record.id,
                         output_id=output.id, manifest=manifest, manifest_digest=rules.manifest_digest(manifest),
                         texts_digest=texts, sample=rules.sample(output.content))
    session.add(row)
    session.flush()
    trust.append(session, Tag.VERSION_CREATED, actor, row.id, related=[product_id, job_id, record.id],
                 data={"number": number, "manifest_digest": row.manifest_digest, "output_digest": output.digest})
    return row


def withdraw_version(session: Session, actor: Actor, product_id: str, number: int) -> ProductVersion:
    """Give up a version that has no registration code yet; its result can be bound again.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``.
    """
    product = locked_product(session, actor, product_id)
    version = locked_version(session, product_id, number)
    step = rules.version_life(product.tier).check("withdraw", version.status, actor, owner=product.organisation_id)
    version.status = step.target
    session.add(version)
    trust.append(session, Tag.VERSION_WITHDRAWN, actor, version.id, related=[product_id])
    return version


def _participants(session: Session, node_ids: Iterable[str], resources: Sequence[str]) -> list[dict[str, Any]]:
    nodes = computing.nodes_by_id(session, list(node_ids))
    sizes: dict[str, int] = {}
    for node_id in nodes:
        for row in catalogue.resources_of_node(session, node_id):
            if row.name in resources:
                sizes[node_id] = sizes.get(node_id, 0) + row.row_count
    return [
        {"node_id": node_id, "organisation_id": nodes[node_id].organisation_id, "rows": sizes.get(node_id)}
        for node_id in sorted(nodes)
    ]
