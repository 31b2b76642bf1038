"""Imports every table so that the metadata is complete; used by migrations and tests only."""

from sqlmodel import SQLModel

import marketplace.agreements.models
import marketplace.attachments.models
import marketplace.authorisation.models
import marketplace.catalogue.index
import marketplace.catalogue.models
import marketplace.commerce.models
import marketplace.computing.models
import marketplace.deadlines.models
import marketplace.metering.models
import marketplace.notices.models
import marketplace.parties.models
import marketplace.pricing.models
import marketplace.products.models
import marketplace.programs.models
import marketplace.registration.models
import marketplace.sandboxes.models
import marketplace.selection.models
import marketplace.settlement.models
import marketplace.trust.models  # noqa: F401

metadata = SQLModel.metadata
