"""The blueprint that all REST files share, and what every operation's description has in common."""

from __future__ import annotations

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from marketplace.api.auth import guard
from marketplace.api.schemas import ProblemOut

TAGS = {
    "parties": Tag(name="parties", description="Organisations and their programs."),
    "members": Tag(name="members", description="An organisation's people, and whom it invites."),
    "registration": Tag(name="registration", description="Registering organisations: check, credit lists, ownership, partners, measures."),
    "notices": Tag(name="notices", description="Public notices and objections, messages, and what waits for the caller."),
    "nodes": Tag(name="nodes", description="The departments' nodes."),
    "catalogue": Tag(name="catalogue", description="Data resources and federated apps."),
    "agreements": Tag(name="agreements", description="Operation and development agreements."),
    "selection": Tag(name="selection", description="Operator selection: notice, applications, panel, ranking."),
    "files": Tag(name="files", description="Uploaded files."),
    "scenarios": Tag(name="scenarios", description="Scenarios, and the opinions asked on them and on demands."),
    "demands": Tag(name="demands", description="Lists of data that a scenario asks for."),
    "authorisation": Tag(name="authorisation", description="Grants, withdrawal, revocation, total volume."),
    "computing": Tag(name="computing", description="Jobs and egress reviews."),
    "sandboxes": Tag(name="sandboxes", description="Sandboxes of scenarios, and distributions approved for them."),
    "programs": Tag(name="programs", description="Developers' apps: submission, review, packages."),
    "products": Tag(name="products", description="Products, versions, prices, delivery."),
    "commerce": Tag(name="commerce", description="Orders, entitlements, invoices."),
    "audit": Tag(name="audit", description="The public Merkle log."),
}


def blueprint(name: str, part: str = "") -> APIBlueprint:
    """A blueprint under ``/api/v1`` for one domain (or a ``part`` of it), with authentication before everything else."""
    made = APIBlueprint(f"api_{part or name}", __name__, url_prefix="/api/v1", abp_tags=[TAGS[name]],
                        abp_security=[{"oauth2": []}], abp_responses={"4XX": ProblemOut})
    guard(made, name)
    return made
