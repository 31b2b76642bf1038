"""Settings of the marketplace and coordinator, from the environment (``SHUYAN_…``) or files named there.

Secrets are read from files (``…_file``), never from variables, so that they appear in no process listing.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SUPERVISOR = "SHUYAN_SUPERVISOR_PID"
"""Environment variable by which the serving command tells its workers whose children they are; not a setting."""


class Settings(BaseSettings):
    """One place for every setting; ``docs/settings.md`` documents each, and a test fails when one is missing there."""

    model_config = SettingsConfigDict(env_prefix="SHUYAN_", extra="ignore")

    data_dir: Path = Field(Path("data"), description="Folder of the embedded database, keys and usage files.")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in data_dir.")
    database_password_file: Path | None = Field(None, description="File with the database password, put into database_url.")
    secret_key_file: Path | None = Field(None, description="File with the web session key; empty: data_dir/keys/web.key.")
    web_host: str = Field("127.0.0.1", description="Address the web tier listens on.")
    web_port: int = Field(8700, description="Port the web tier listens on.")
    web_workers: int = Field(1, description="Web worker processes.")
    web_threads: int = Field(8, description="Threads in each web worker.")
    public_url: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = Field("http://127.0.0.1:8700", description="Address at which users reach the web tier.")
    secure_cookies: bool = Field(False, description="Send session cookies over HTTPS only.")
    session_idle_minutes: int = Field(60, ge=1, description="Minutes without a request after which a person is signed out.")
    session_hours: int = Field(12, ge=1, description="Hours after which a person is signed out whatever they do.")
    account_key_file: Path | None = Field(None, description="File with the key that seals second factors; empty: data_dir/keys/accounts.key.")
    second_factor_for: Literal["nobody", "admins", "everybody"] = Field(
        "nobody", description="Who must set up a second factor before the first page: nobody, admins, everybody.")
    oidc_issuer: str = Field("", description="Issuer of the external OpenID provider people may sign in with; empty: none.")
    oidc_client_id: str = Field("", description="Our client id at the external OpenID provider.")
    oidc_client_secret_file: Path | None = Field(None, description="File with our secret at the external OpenID provider.")
    oidc_name: str = Field("", description="What the external provider is called on the sign-in page.")
    oidc_trusts_second_factor: bool = Field(False, description="Ask for no second factor of ours after the external provider.")
    trusted_proxies: int = Field(0, description="Reverse proxies in front of the web tier whose headers are believed.")
    link_host: str = Field("127.0.0.1", description="Address the coordinator listens on for nodes.")
    link_port: int = Field(8701, description="Port of the node link (mutual TLS).")
    enrol_port: int = Field(8702, description="Port of the enrolment service (server TLS).")
    link_public_host: str = Field("127.0.0.1", description="Host name or address at which nodes reach the coordinator.")
    heartbeat_seconds: int = Field(2, description="Heartbeat interval on the node link.")
    city_code: str = Field("SZ", pattern="^[A-Z]{2,4}$", description="The city's letters in registration codes.")
    default_locale: str = Field("zh", description="Language for visitors whose browser asks for none we have.")
    agreement_notice_days: int = Field(5, ge=0, le=60, description="Working days of public notice before an operation agreement may be signed.")
    agreement_signing_days: int = Field(30, ge=1, le=365, description="Days in which both sides are to sign an agreement; then it is off.")
    egress_days: int = Field(5, ge=1, le=60, description="Working days for each organisation asked whether a result or a product leaves the domain; then the data authority decides in its place.")
    selection_notice_days: int = Field(5, ge=0, le=60, description="Working days of public notice of the result of an operator selection.")
    retirement_notice_days: int = Field(30, ge=0, le=365, description="Days from the announcement of a product's retirement to its end.")
    share_treasury: int = Field(10, description="Per cent of revenue to the treasury.")
    share_operator: int = Field(20, description="Per cent of revenue to the operator.")
    share_source_departments: int = Field(30, description="Per cent of revenue to the source departments, by rows contributed.")
    share_developer: int = Field(40, description="Per cent of revenue to the developer.")
    quality_completeness: int = Field(90, ge=0, le=100, description="Completeness, in per cent, below which a department is asked to look.")
    quality_validity: int = Field(95, ge=0, le=100, description="Validity, in per cent, below which a department is asked to look.")
    quality_uniqueness: int = Field(90, ge=0, le=100, description="Uniqueness, in per cent, below which a department is asked to look.")
    quality_timeliness: int = Field(50, ge=0, le=100, description="Timeliness, in per cent, below which a department is asked to look.")
    objection_answer_days: int = Field(5, ge=0, le=250, description="Working days to answer an objection to quality.")
    objection_fix_days: int = Field(10, ge=0, le=250, description="Working days to fix what an objection to quality showed.")
    check_days: int = Field(3, ge=1, le=60, description="Working days for the operator's first check of a scenario or demand.")
    review_days: int = Field(5, ge=1, le=60, description="Working days for the review of a scenario or demand by each organisation asked.")
    review_quorum: int = Field(100, ge=1, le=100, description="Per cent of the source departments asked that must answer; lines of silent ones are struck.")
    registration_notice_days: int = Field(5, ge=0, le=60, description="Working days of public notice before a developer's registration takes effect.")
    registration_check_days: int = Field(10, ge=1, le=90, description="Working days in which the operator is to check a registration.")
    registration_draft_days: int = Field(30, ge=1, le=365, description="Days after which a registration nobody submits lapses.")
    consumer_check: bool = Field(True, description="Whether the operator checks the registration of a consumer; else it takes effect at once.")
    partner_notice_days: int = Field(5, ge=0, le=60, description="Working days of public notice before a partner of the operator is filed.")
    control_share_percent: int = Field(50, ge=1, le=100, description="Share from which an organisation is taken to control another.")
    sandbox_required: Literal["none", "own_apps", "all"] = Field("own_apps", description="Which jobs must have succeeded in their scenario's sandbox first: none, those of developers' own apps, or all.")
    sandbox_runs_a_day: int = Field(200, ge=0, description="Runs a day in each sandbox.")
    sandbox_rows: int = Field(20_000, ge=1, le=1_000_000, description="Rows of mock data a resource of a department, at most.")
    sandbox_storage_mb: int = Field(500, ge=1, description="Megabytes of files in a sandbox's folder on the developer's machine.")
    smtp_host: str = Field("", description="Mail server; empty: mail stays queued.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Port of the mail server.")
    smtp_security: Literal["starttls", "tls", "none"] = Field("starttls", description="How the connection is secured: starttls, tls or none.")
    smtp_user: str = Field("", description="Account at the mail server; empty: none.")
    smtp_password_file: Path | None = Field(None, description="File with its password.")
    smtp_sender: str = Field("shuyan@localhost", description="Address that mail comes from.")
    stripe_secret_key_file: Path | None = Field(None, description="File with Stripe's secret key; without one, orders are paid by bank transfer only.")
    stripe_webhook_secret_file: Path | None = Field(None, description="File with the signing secret of Stripe's webhook; several, a line each, while it is rolled.")
    stripe_api_base: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = Field("https://api.stripe.com", description="Address of Stripe's interface.")
    log_json: bool = Field(False, description="Log as JSON lines instead of text.")

    @model_validator(mode="after")
    def _both_of_stripe(self) -> Self:
        if (self.stripe_secret_key_file is None) != (self.stripe_webhook_secret_file is None):
            raise ValueError("card payments need both SHUYAN_STRIPE_SECRET_KEY_FILE and SHUYAN_STRIPE_WEBHOOK_SECRET_FILE")
        return self

    @cached_property
    def resolved_database_url(self) -> str:
        """The database URL with the password from its file, SQLite in ``data_dir`` by default."""
        if not self.database_url:
            return f"sqlite:///{(self.data_dir / 'market.sqlite').resolve()}"
        if self.database_password_file:
            from sqlalchemy.engine import make_url

            password = self.database_password_file.read_text().strip()
            return make_url(self.database_url).set(password=password).render_as_string(hide_password=False)
        return self.database_url

    @property
    def keys_dir(self) -> Path:
        return self.data_dir / "keys"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
