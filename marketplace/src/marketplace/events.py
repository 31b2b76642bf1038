"""The one vocabulary of audit events, ``source:subject:action``."""

from __future__ import annotations

from enum import StrEnum


class Tag(StrEnum):
    """Every step that leaves a trace. Values are stored for good: never rename one."""

    ORGANISATION_REGISTERED = "parties:organisation:registered"
    CLIENT_CREATED = "parties:client:created"
    CLIENT_REVOKED = "parties:client:revoked"
    NODE_INVITED = "computing:node:invited"
    NODE_ENROLLED = "computing:node:enrolled"
    NODE_REVOKED = "computing:node:revoked"
    RESOURCE_REGISTERED = "catalogue:resource:registered"
    RESOURCE_CHANGED = "catalogue:resource:changed"
    RESOURCE_WITHDRAWN = "catalogue:resource:withdrawn"
    SCENARIO_PROPOSED = "authorisation:scenario:proposed"
    DEMAND_SUBMITTED = "authorisation:demand:submitted"
    DEMAND_REFUSED = "authorisation:demand:refused"
    GRANT_ISSUED = "authorisation:grant:issued"
    GRANT_REVOKED = "authorisation:grant:revoked"
    JOB_SUBMITTED = "computing:job:submitted"
    JOB_CANCELLED = "computing:job:cancelled"
    RUN_STARTED = "computing:run:started"
    RUN_FINISHED = "computing:run:finished"
    RUN_FAILED = "computing:run:failed"
    EGRESS_CHECKED = "computing:egress:checked"
    EGRESS_APPROVED = "computing:egress:approved"
    EGRESS_REJECTED = "computing:egress:rejected"
    PRODUCT_DRAFTED = "products:product:drafted"
    VERSION_CREATED = "products:version:created"
    VERSION_REGISTERED = "products:version:registered"
    PRODUCT_LISTED = "products:product:listed"
    PRODUCT_SUSPENDED = "products:product:suspended"
    PRICE_SET = "pricing:plan:set"
    ORDER_PLACED = "commerce:order:placed"
    ORDER_CANCELLED = "commerce:order:cancelled"
    PAYMENT_RECEIVED = "commerce:payment:received"
    ENTITLEMENT_GRANTED = "commerce:entitlement:granted"
    USAGE_SEALED = "metering:usage:sealed"
