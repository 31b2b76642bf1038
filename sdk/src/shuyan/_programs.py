"""Developers' apps at the market: submit a package, follow its review, download what was accepted."""

from __future__ import annotations

import builtins
import datetime as dt
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import Field, ValidationError

from shuyan._errors import ShuyanError, VerificationFailed
from shuyan._http import Api, not_understood
from shuyan._models import Record
from shuyan._text import t

_PATH = "/app-submissions"


class AppSubmission(Record):
    """A package on its way through review. :meth:`Programs.get` gives its declarations, sources and changes as well."""

    id: str
    name: str
    version: str
    digest: str
    organisation_id: str
    title_zh: str = ""
    title_en: str = ""
    output_form: str = ""
    size: int = 0
    findings: list[dict[str, Any]] = Field(default_factory=list)
    status: str
    note: str = ""
    signer: str | None = None
    decided_at: dt.datetime | None = None
    created_at: dt.datetime | None = None


class Programs:
    """Developers' federated apps."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def submit(self, package: bytes | Path | str, note: str = "") -> AppSubmission:
        """Hand in a packed app, as bytes or as a file, for the operator's review. The same package twice is one submission."""
        import base64

        data = package if isinstance(package, bytes) else Path(package).read_bytes()
        return _submission(self._api.post(_PATH, {"package": base64.b64encode(data).decode("ascii"), "note": note}))

    def list(self, *, status: str | None = None, name: str | None = None, limit: int | None = None) -> builtins.list[AppSubmission]:
        """Submissions that the caller may see, newest first: one's own; all for the operator; accepted ones for departments."""
        return [_submission(item) for item in self._api.pages(_PATH, limit=limit, status=status, name=name)]

    def get(self, id: str) -> AppSubmission:
        """One submission, with ``manifest``, ``outputs``, ``reads``, ``sources``, ``changes``, ``signature`` and ``actions``."""
        return _submission(self._api.get(f"{_PATH}/{quote(id, safe='')}"))

    def package(self, id: str) -> bytes:
        """The package file of a submission, whose digest is checked.

        Raises:
            VerificationFailed: what came is not what the market names.
        """
        return self._package(self.get(id))

    def download(self, name: str, version: str | None = None, *, folder: Path | str = ".", key: Path | None = None) -> Path:
        """Fetch an accepted package and, beside it, the operator's signature (``.sig``); returns the package's path.

        Args:
            version: the highest accepted one by default.
            key: the operator's public key: the signature is verified before anything is written. A node verifies it anyway.

        Raises:
            VerificationFailed: digest or signature does not hold.
            ShuyanError: there is no such version.
        """
        found = [one for one in self.list(status="accepted", name=name) if version in (None, one.version)]
        if not found:
            raise ShuyanError(t("没有通过审核的应用 {name} {version}。", "There is no accepted app {name} {version}.",
                                name=name, version=version or ""))
        chosen = self.get(max(found, key=lambda one: tuple(int(part) for part in one.version.split("."))).id)
        data, signature = self._package(chosen), str((chosen.model_extra or {}).get("signature") or "")
        if key is not None:
            _verify(data, signature, key)
        # Named by what was asked for, not by what was answered: no answer chooses where a file goes.
        if not name.isidentifier() or not all(part.isdecimal() for part in chosen.version.split(".")):
            raise not_understood()
        target = Path(folder) / f"{name}-{chosen.version}.shuyanapp"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.with_name(target.name + ".sig").write_text(signature + "\n", encoding="ascii")
        return target

    def withdraw(self, id: str) -> AppSubmission:
        """Take one's own submission back before it is decided."""
        return self._do(id, "withdraw", {})

    def send_back(self, id: str, note: str) -> AppSubmission:
        """Return a submission to be changed. For the operator."""
        return self._do(id, "return", {"note": note})

    def reject(self, id: str, note: str) -> AppSubmission:
        """Turn a submission down. For the operator."""
        return self._do(id, "reject", {"note": note})

    def accept(self, id: str, signature: str, note: str = "") -> AppSubmission:
        """Accept a submission with what ``shuyan app sign`` wrote. For the operator."""
        return self._do(id, "accept", {"signature": signature, "note": note})

    def retire(self, id: str, note: str) -> AppSubmission:
        """Take one's own accepted version out of use."""
        return self._do(id, "retire", {"note": note})

    def suspend(self, id: str, note: str) -> AppSubmission:
        """Take an accepted version out of use. For the operator."""
        return self._do(id, "suspend", {"note": note})

    def _do(self, id: str, action: str, body: dict[str, Any]) -> AppSubmission:
        return _submission(self._api.post(f"{_PATH}/{quote(id, safe='')}/{action}", body))

    def _package(self, submission: AppSubmission) -> bytes:
        data = self._api.get_bytes(f"{_PATH}/{quote(submission.id, safe='')}/package")
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != submission.digest:
            raise VerificationFailed(t("下载的应用包与其摘要不符。", "The package that came does not fit its digest."))
        return data


def _verify(data: bytes, signature: str, key: Path) -> None:
    from shuyan.appkit import read_package, verify_signature
    from shuyan.problems import ProblemError
    from shuyan.trust.keys import load_public_key

    try:
        verify_signature(read_package(data), signature, load_public_key(key))
    except ProblemError as error:
        raise VerificationFailed(t("应用包的签名无效：{reason}", "The package's signature does not hold: {reason}",
                                   reason=str(error))) from error


def _submission(data: Any) -> AppSubmission:
    try:
        return AppSubmission.model_validate(data)
    except ValidationError as error:
        raise not_understood() from error
