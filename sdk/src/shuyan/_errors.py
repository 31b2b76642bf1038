"""What can go wrong when talking to a market.

::

    ShuyanError
      ├─ ConfigurationError      no address, no such profile, an unreadable settings file
      ├─ ConnectionFailed        nobody answered, also after retrying
      ├─ ProblemResponse         the market answered with a problem (RFC 9457)
      │    ├─ NotSignedIn        401
      │    ├─ NotAllowed         403
      │    ├─ NotFound           404
      │    ├─ Conflict           409
      │    ├─ InvalidInput       400, 413, 415, 422
      │    ├─ RateLimited        429
      │    └─ Unavailable        502, 503, 504
      ├─ JobFailed               a job ended without a result
      ├─ ExtraMissing            a library that this needs is not installed
      └─ VerificationFailed      evidence that does not hold: never ignore this one
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ShuyanError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigurationError(ShuyanError):
    """The market's address or the credentials are missing or unreadable."""


class ConnectionFailed(ShuyanError):
    """The market could not be reached; nothing is known about whether a request was carried out.

    Attributes:
        url: the address that was tried.
    """

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


@dataclass(frozen=True)
class FieldError:
    """One input field at fault and why."""

    field: str
    detail: str


class ProblemResponse(ShuyanError):
    """The market refused or failed; ``str()`` of it is the sentence to show a person.

    Attributes:
        status: HTTP status.
        code: the market's error code, see the error reference; "" if the answer was not a problem document.
        detail: the public sentence, in the language asked for.
        errors: the input fields at fault, if any.
        request_id: what to tell the operator.
        retry_after: seconds after which to try again, if the market said so.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, errors: tuple[FieldError, ...] = (), request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.request_id = request_id
        self.retry_after = retry_after


class NotSignedIn(ProblemResponse):
    """Unknown client, wrong secret, or a token that no longer holds."""


class NotAllowed(ProblemResponse):
    """The organisation, its role or the token's scope does not permit this."""


class NotFound(ProblemResponse):
    """No such thing, or not for your eyes."""


class Conflict(ProblemResponse):
    """The thing's state does not permit this, or an idempotency key was used for something else."""


class InvalidInput(ProblemResponse):
    """The request was not understood; ``errors`` names the fields."""


class RateLimited(ProblemResponse):
    """Too many requests; ``retry_after`` says when to come back."""


class Unavailable(ProblemResponse):
    """The market is there and cannot answer at the moment."""


class JobFailed(ShuyanError):
    """A job ended as failed, cancelled or rejected.

    Attributes:
        job_id: the job.
        status: how it ended.
        code: the error code, if it failed.
    """

    def __init__(self, message: str, *, job_id: str, status: str, code: str | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.status = status
        self.code = code


class ExtraMissing(ShuyanError, ImportError):
    """A library is needed that is not installed; the sentence says which extra of this package brings it."""


class VerificationFailed(ShuyanError):
    """A signature, an inclusion proof or a consistency proof does not hold."""


_BY_STATUS: dict[int, type[ProblemResponse]] = {
    400: InvalidInput, 401: NotSignedIn, 403: NotAllowed, 404: NotFound, 409: Conflict, 413: InvalidInput,
    415: InvalidInput, 422: InvalidInput, 429: RateLimited, 502: Unavailable, 503: Unavailable, 504: Unavailable,
}


def problem_response(
    status: int, body: Any, *, request_id: str | None = None, retry_after: float | None = None,
) -> ProblemResponse:
    """The error for an HTTP answer: ``body`` is its decoded JSON, or anything else if it had none."""
    document: dict[str, Any] = body if isinstance(body, dict) else {}
    # RFC 6749 section 5.2 has a shape of its own for the token endpoint.
    code = str(document.get("code") or document.get("error") or "")
    detail = str(document.get("detail") or document.get("error_description") or document.get("title") or f"HTTP {status}")
    errors = tuple(
        FieldError(str(item.get("field", "")), str(item.get("detail", "")))
        for item in document.get("errors") or () if isinstance(item, dict)
    )
    kind = NotSignedIn if code == "invalid_client" else _BY_STATUS.get(status, ProblemResponse)
    return kind(status, code, detail, errors=errors, request_id=request_id, retry_after=retry_after)
