"""Use cases of developers' apps: submit, look, return or reject or accept, download, retire; and which of them run here."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from marketplace import work
from marketplace.access import require_organisation
from marketplace.actor import Actor
from marketplace.db import storable, utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.lifecycle import Transition
from marketplace.logging import get_logger
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.programs import believed, errors, rules
from marketplace.programs.examine import Examined, examine, is_built_in
from marketplace.programs.models import AppPackage, AppSubmission, DeveloperApp
from marketplace.trust import records
from marketplace.trust import service as trust
from marketplace.work import WorkItem
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from shuyan.appkit import PackageDiff
    from shuyan.appkit.package import Package
    from shuyan.federation.apps import InstalledApp

__all__ = [
    "Examined", "SubmissionDetail", "Version", "accept", "accepted_versions", "altered_records", "check_package", "detail_facts", "download", "find", "forget", "get_submission",
    "installed", "is_built_in", "list_submissions", "possible_actions", "reject", "retire", "return_", "submit", "waiting", "withdraw",
]

_MAX_NOTE = 4000
log = get_logger("programs")


@dataclass(frozen=True)
class SubmissionDetail:
    """What a reviewer looks at.

    Attributes:
        changes: against the last version accepted before this one; against nothing for the first.
        previous: that version's submission.
    """

    submission: AppSubmission
    package: Package
    changes: PackageDiff
    previous: AppSubmission | None
    actions: list[str]


@dataclass(frozen=True)
class Version:
    """An accepted version of an app."""

    version: str
    digest: str
    submission_id: str
    organisation_id: str


# --- developers ---


def check_package(actor: Actor, data: bytes) -> Examined:
    """Read a package before a transaction is begun for it.

    Raises:
        ProblemError: ``not_signed_in``, ``not_allowed``, ``scope_missing``, ``package_invalid``, ``app_name_built_in``.
    """
    _may_submit(actor)
    return examine(data)


def _may_submit(actor: Actor) -> str:
    organisation_id = require_organisation(actor)
    rules.SUBMIT.require(actor)
    return organisation_id


def submit(session: Session, actor: Actor, data: bytes, *, note: str = "", checked: Examined | None = None) -> AppSubmission:
    """Hand in a package for review. The very package that is in review, or was accepted, is the same submission again.

    Args:
        checked: what :func:`check_package` made of ``data``.

    Raises:
        ProblemError: as :func:`check_package`; ``app_name_of_others``, ``app_in_review``, ``app_unchanged``,
            ``app_version_not_higher``, ``app_version_lower``.
    """
    organisation_id = _may_submit(actor)
    found = checked or examine(data)
    package = found.package
    if _owner(session, package.name, organisation_id) != organisation_id:
        raise ProblemError(errors.APP_NAME_OF_OTHERS, field="package", name=package.name)
    earlier = list(session.exec(select(AppSubmission).where(AppSubmission.name == package.name)))
    for row in earlier:
        if row.digest == package.digest and row.status in ("submitted", "accepted"):
            return row
    rules.check_next(package.name, package.version, package.digest,
                     [rules.Earlier(row.version, row.digest, row.status) for row in earlier])
    app = package.manifest.app
    row = AppSubmission(
        id=new_id("app"), name=package.name, version=package.version, digest=package.digest, organisation_id=organisation_id,
        submitted_by=actor.label, title_zh=app.title_zh, title_en=app.title_en, output_form=app.output_form,
        size=len(package.data), findings=found.findings, status=rules.SUBMISSION.initial, note=_clean(note))
    session.add(row)
    session.flush()
    session.add(AppPackage(submission_id=row.id, data=package.data))
    trust.append(session, Tag.APP_SUBMITTED, actor, row.id, related=[row.name],
                 data={"digest": row.digest, "version": row.version, "findings": len(row.findings)})
    return row


def _owner(session: Session, name: str, organisation_id: str) -> str:
    """Whose a name is, taking it if it is nobody's; its row is locked from here on, so that submissions come one by one."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = {"name": name, "organisation_id": organisation_id, "created_at": utc_now()}
    session.execute(dialect.insert(DeveloperApp).values(values).on_conflict_do_nothing())
    return session.get_one(DeveloperApp, name, with_for_update=True, populate_existing=True).organisation_id


def withdraw(session: Session, actor: Actor, submission_id: str) -> AppSubmission:
    """Take a submission back before it is decided. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    return _take(session, actor, submission_id, "withdraw")


def retire(session: Session, actor: Actor, submission_id: str, note: str = "") -> AppSubmission:
    """Take an accepted version out of use: no job runs it any more, and nobody downloads it.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``; ``comment_required``.
    """
    return _take(session, actor, submission_id, "retire", note, comment=True)


# --- reviewers ---


def return_(session: Session, actor: Actor, submission_id: str, note: str) -> AppSubmission:
    """Send a submission back to be changed.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``own_submission``; ``comment_required``.
    """
    return _take(session, actor, submission_id, "return", note, comment=True)


def reject(session: Session, actor: Actor, submission_id: str, note: str) -> AppSubmission:
    """Turn a submission down. Raises as :func:`return_`."""
    return _take(session, actor, submission_id, "reject", note, comment=True)


def accept(session: Session, actor: Actor, submission_id: str, signature: str, note: str = "") -> AppSubmission:
    """Accept a submission with the operator's signature, made offline over its digest. The same one twice is once.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``own_submission``; ``app_findings_open``;
            ``apps_key_missing``, ``app_signature_invalid``, ``app_package_altered``.
    """
    row, compact = _get(session, actor, submission_id, lock=True), signature.strip()
    if row.status == "accepted" and row.signature == compact and actor.party in rules.REVIEWERS:
        return row
    step = _step(actor, row, "accept")
    if row.findings:
        raise ProblemError(errors.FINDINGS_OPEN, count=len(row.findings))
    statement = believed.verify(_package(session, row), compact, believed.read_keys())
    row.signature, row.signer = compact, statement.iss
    return _decide(session, actor, row, step, _clean(note))


def _take(session: Session, actor: Actor, submission_id: str, action: str, note: str = "", *, comment: bool = False) -> AppSubmission:
    row = _get(session, actor, submission_id, lock=True)
    step, said = _step(actor, row, action), _clean(note)
    if comment and not said:
        raise ProblemError(errors.COMMENT_REQUIRED, field="note")
    return _decide(session, actor, row, step, said)


def _step(actor: Actor, row: AppSubmission, action: str) -> Transition:
    step = rules.SUBMISSION.check(action, row.status, actor, owner=row.organisation_id)
    if action in rules.REVIEWS:
        rules.check_reviewer(actor, row.submitted_by)
    return step


def _decide(session: Session, actor: Actor, row: AppSubmission, step: Transition, said: str) -> AppSubmission:
    row.status, row.decided_by, row.decided_at = step.target, actor.label, utc_now()
    row.note = said or row.note
    session.add(row)
    if step.event is not None:
        trust.append(session, step.event, actor, row.id, related=[row.name], data={"digest": row.digest, "version": row.version})
    return row


def _clean(note: str) -> str:
    said = note.strip()[:_MAX_NOTE]
    if not storable(said):
        raise ProblemError(errors.COMMENT_REQUIRED, field="note")
    return said


# --- everybody who may look ---


def list_submissions(session: Session, actor: Actor, *, status: str | None = None, name: str | None = None,
                     cursor: str | None = None, limit: int = 20) -> Page[AppSubmission]:
    """Submissions that the actor may see, newest first.

    Raises:
        ProblemError: ``not_signed_in``, ``bad_cursor``.
    """
    organisation_id = require_organisation(actor)
    query = select(AppSubmission).order_by(col(AppSubmission.id).desc()).limit(clamp(limit) + 1)
    if actor.party in rules.INSTALLERS:
        query = query.where(col(AppSubmission.status).in_(rules.EVER_ACCEPTED))
    elif actor.party not in rules.OVERSEERS:
        query = query.where(AppSubmission.organisation_id == organisation_id)
    if status:
        query = query.where(AppSubmission.status == status)
    if name:
        query = query.where(AppSubmission.name == name)
    if cursor:
        query = query.where(col(AppSubmission.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), clamp(limit), lambda row: (row.id,))


@work.source
def waiting(session: Session, actor: Actor) -> list[WorkItem]:
    """Submissions that this actor could decide, or has to correct."""
    found = session.exec(select(AppSubmission).where(col(AppSubmission.status).in_(("submitted", "returned")))
                         .order_by(col(AppSubmission.id)).limit(200)).all()
    newer = {row.name: row.id for row in found}
    out = []
    for row in found:
        if row.status == "submitted" and "reject" in possible_actions(actor, row):
            out.append(WorkItem("app.review", row.id, row.title_zh, "submission:submission_id", row.organisation_id, row.created_at,
                                title_en=row.title_en))
        elif (row.status == "returned" and row.organisation_id == actor.organisation_id and newer[row.name] == row.id
              and rules.SUBMIT.held(actor)):
            out.append(WorkItem("app.correct", row.id, row.title_zh, "submission:submission_id", row.organisation_id,
                                row.decided_at or row.created_at, title_en=row.title_en))
    return out


def get_submission(session: Session, actor: Actor, submission_id: str) -> SubmissionDetail:
    """One submission with its package, and what changed since the last accepted version.

    Raises:
        ProblemError: ``not_found``; ``app_package_altered``.
    """
    from shuyan.appkit import diff_packages

    row = _get(session, actor, submission_id)
    package = _package(session, row)
    before = [one for one in session.exec(select(AppSubmission).where(
        AppSubmission.name == row.name, col(AppSubmission.status).in_(rules.EVER_ACCEPTED)))
        if rules.version_key(one.version) < rules.version_key(row.version)]
    previous = max(before, key=lambda one: rules.version_key(one.version), default=None)
    old = None if previous is None else _package(session, previous)
    return SubmissionDetail(row, package, diff_packages(old, package), previous, possible_actions(actor, row))


def possible_actions(actor: Actor, row: AppSubmission) -> list[str]:
    """What the actor may do with a submission now: the buttons of a page."""
    own = actor.label == row.submitted_by
    return list(dict.fromkeys(
        action for action in rules.SUBMISSION.possible(row.status, actor, owner=row.organisation_id)
        if not (action in rules.REVIEWS and own) and not (action == "accept" and row.findings)))


def download(session: Session, actor: Actor, submission_id: str) -> tuple[AppSubmission, bytes]:
    """A package's bytes: of an accepted one with the digest and signature verified once more, of any other for review.

    Raises:
        ProblemError: ``not_found``; ``app_package_altered``, ``apps_key_missing``; ``wrong_state`` for departments once it
            is retired.
    """
    row = _get(session, actor, submission_id)
    if row.status == "retired" and actor.party in rules.INSTALLERS:
        raise ProblemError("wrong_state", state=row.status, action="download")
    if row.status == "accepted":
        return row, believed.believe(_data(session, row), row.digest, row.signature, believed.read_keys()).data
    return row, _package(session, row).data


def _get(session: Session, actor: Actor, submission_id: str, *, lock: bool = False) -> AppSubmission:
    row = session.get(AppSubmission, submission_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or not rules.may_see(actor, row.organisation_id, row.status):
        raise ProblemError("not_found", what="app")
    return row


def _data(session: Session, row: AppSubmission) -> bytes:
    found = session.get(AppPackage, row.id)
    return b"" if found is None else found.data


def _package(session: Session, row: AppSubmission) -> Package:
    from shuyan.appkit.package import read_package

    try:
        package = read_package(_data(session, row))
    except ProblemError:
        raise ProblemError(errors.PACKAGE_ALTERED) from None
    if (package.digest, package.name, package.version) != (row.digest, row.name, row.version):
        raise ProblemError(errors.PACKAGE_ALTERED)
    return package


# --- what runs here ---

_known: dict[tuple[str, str, bytes], InstalledApp | None] = {}
_lock = threading.Lock()


def installed(session: Session) -> dict[str, InstalledApp]:
    """Every app that a demand may name, by name: those that come with the product, and the highest accepted version of each
    developer's, verified by this process. What does not fit its digest and signature is left out, and logged."""
    from shuyan.federation import apps

    found = dict(apps.base.built_in())
    for row in sorted(_accepted(session), key=lambda row: rules.version_key(row.version)):
        app = _believed(session, row)
        if app is not None and not is_built_in(app.name):
            found[app.name] = app
    return found


def find(session: Session, name: str, digest: str) -> InstalledApp | None:
    """The very app that a grant names, built in or accepted; ``None`` if it is not there or not believed."""
    from shuyan.federation import apps

    built_in = apps.base.built_in().get(name)
    if built_in is not None:
        return built_in if built_in.digest == digest else None
    for row in _accepted(session, name):
        if row.digest == digest:
            return _believed(session, row)
    return None


def forget() -> None:
    """Verify every package again when it is next asked for, as after a start."""
    with _lock:
        _known.clear()


def accepted_versions(session: Session) -> dict[str, list[Version]]:
    """Accepted versions by name, the highest first."""
    found: dict[str, list[Version]] = {}
    for row in sorted(_accepted(session), key=lambda row: rules.version_key(row.version), reverse=True):
        found.setdefault(row.name, []).append(Version(row.version, row.digest, row.id, row.organisation_id))
    return found


def altered_records(session: Session) -> list[str]:
    """Submissions that are not what the audit log says, or whose package is another one; see :func:`.records.altered`."""
    found = set(records.altered(session, Tag.APP_SUBMITTED, AppSubmission, {
        name: attrgetter(name) for name in ("digest", "version")}))
    for row in session.exec(select(AppSubmission).order_by(col(AppSubmission.id))):
        if f"sha256:{sha256(_data(session, row)).hexdigest()}" != row.digest:
            found.add(row.id)
    return sorted(found)


def _accepted(session: Session, name: str | None = None) -> list[AppSubmission]:
    query = select(AppSubmission).where(AppSubmission.status == "accepted")
    return list(session.exec(query if name is None else query.where(AppSubmission.name == name)))


def _believed(session: Session, row: AppSubmission) -> InstalledApp | None:
    """Verified once a process: content under a digest does not change, and a replaced key file is another key."""
    try:
        key = (row.digest, row.signature or "", believed.read_keys())
    except ProblemError:
        log.warning("no public key for apps", app=row.name)
        return None
    with _lock:
        if key not in _known:
            try:
                _known[key] = believed.as_installed(believed.believe(_data(session, row), *key))
            except ProblemError as error:
                log.error("accepted package is not believed", app=row.name, version=row.version, code=error.code)
                _known[key] = None
        return _known[key]


def detail_facts(detail: SubmissionDetail) -> dict[str, Any]:
    """A detail as plain data, for faces: declarations, what it reads, findings and changes."""
    manifest = detail.package.manifest
    return {
        "manifest": manifest.model_dump(mode="json"), "readme": detail.package.readme,
        "reads": [one.model_dump(mode="json") for one in manifest.reads],
        "outputs": [{"action": action, "vector": name, **spec.model_dump(mode="json")}
                    for action, specs in sorted(manifest.app.actions.items()) for name, spec in sorted(specs.items())],
        "sources": dict(detail.package.sources),
        "changes": {
            "declarations": [{"where": one.where, "old": one.old, "new": one.new} for one in detail.changes.declarations],
            "files": [{"path": one.path, "kind": one.kind, "diff": one.diff} for one in detail.changes.files]},
        "previous": None if detail.previous is None else {"id": detail.previous.id, "version": detail.previous.version,
                                                          "digest": detail.previous.digest},
    }
