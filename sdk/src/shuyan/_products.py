"""The longer life of a product: tests, reviews, sale, changes, retirement."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shuyan._http import Api

_PATH = "/products"


class ProductLives:
    """What happens to a product and its versions between the draft and the end; a part of ``market.products``."""

    _api: Api

    # --- the seller ---

    def edit(self, id: str, **texts: str) -> dict[str, Any]:
        """Change texts of a product that is neither on sale nor in review."""
        return _dict(self._api.put(f"{_PATH}/{quote(id, safe='')}", dict(texts)))

    def version(self, id: str, job_id: str) -> dict[str, Any]:
        """Bind a new version to a finished job's approved output; the answer names its ``number``."""
        return _dict(self._api.post(f"{_PATH}/{quote(id, safe='')}/versions", {"job_id": job_id}))

    def price(self, id: str, *, access_fee_fen: int, call_fee_fen: int, included_calls: int = 0,
              term_days: int = 365) -> dict[str, Any]:
        """Set the price, in fen: once for the term, and for each call beyond the included ones."""
        return _dict(self._api.put(f"{_PATH}/{quote(id, safe='')}/price", {
            "access_fee_fen": access_fee_fen, "call_fee_fen": call_fee_fen, "included_calls": included_calls,
            "term_days": term_days}))

    def test(self, id: str, number: int, cases: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Run a version's tests: inputs of its own schema, forbidden ones, and ``cases``, bodies that must be answered."""
        return self._version(id, number, "test", {"cases": [dict(case) for case in cases]})

    def submit(self, id: str, number: int) -> dict[str, Any]:
        """Hand a tested version in for review; the answer's ``status`` is the first stage that is not skipped."""
        return self._version(id, number, "submit")

    def withdraw(self, id: str, number: int) -> dict[str, Any]:
        """Give up a version that has no registration code yet."""
        return self._version(id, number, "withdraw")

    def retire(self, id: str, reason: str) -> dict[str, Any]:
        """Announce the retirement: sale ends at once, delivery and all rights to it at ``retires_at``. Not to be undone then."""
        return self._product(id, "retire", {"reason": reason})

    def keep(self, id: str) -> dict[str, Any]:
        """Call a retirement off while its notice runs."""
        return self._product(id, "keep")

    # --- those who review and oversee ---

    def waiting(self, stage: str | None = None, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Versions that wait for a review or their code, of one stage or all."""
        return self._api.pages("/product-versions", limit=limit, stage=stage)

    def dossier(self, id: str, number: int) -> dict[str, Any]:
        """A version with automatic ``checks``, ``checklist``, ``lineage``, ``content``, ``report``, ``reviews`` and ``actions``."""
        return _dict(self._api.get(f"{_PATH}/{quote(id, safe='')}/versions/{number}"))

    def approve(self, id: str, number: int, stage: str, *, ticked: Sequence[str] | None = None, note: str = "") -> dict[str, Any]:
        """Pass a stage (``security_test``, ``compliance_review`` or ``egress_review``).

        Args:
            ticked: codes of the stage's checklist that are confirmed; by default all of what :meth:`dossier` says is asked.
        """
        confirmed = list(self.dossier(id, number)["checklist"] if ticked is None else ticked)
        return self._version(id, number, "pass", {"ticked": confirmed, "note": note, "stage": stage})

    def send_back(self, id: str, number: int, note: str, *, stage: str | None = None) -> dict[str, Any]:
        """Return a version for correction, saying what has to be changed."""
        return self._version(id, number, "return", {"note": note, "stage": stage})

    def register(self, id: str, number: int) -> dict[str, Any]:
        """Give a cleared version its registration code. For the operator (second tier) or the data authority (first)."""
        return self._version(id, number, "register")

    def resume(self, id: str) -> dict[str, Any]:
        """Put back what those who oversee the market suspended."""
        return self._product(id, "resume")

    # --- buyers and everybody ---

    def facets(self, **filters: Any) -> dict[str, Any]:
        """``total`` and ``facets`` (counts by filter and value) of a search with the same filters as :meth:`list`."""
        return _dict(self._api.get("/product-facets", **filters))

    def changes(self, id: str | None = None, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """New versions, prices, suspensions and retirements, newest first; of one product or all."""
        return self._api.pages("/product-changes" if id is None else f"{_PATH}/{quote(id, safe='')}/changes", limit=limit)

    def watched(self, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The products that the caller's organisation follows."""
        return self._api.pages("/watched-products", limit=limit)

    def watch(self, id: str) -> dict[str, Any]:
        """Be told of a product's changes."""
        return self._product(id, "watch")

    def unwatch(self, id: str) -> None:
        """Be told of them no longer."""
        self._api.request("DELETE", f"{_PATH}/{quote(id, safe='')}/watch", repeatable=True)

    def disposal(self, id: str) -> dict[str, Any]:
        """The certificate of disposal of a retired product; :mod:`shuyan.trust` checks that the log holds it."""
        return _dict(self._api.get(f"{_PATH}/{quote(id, safe='')}/disposal"))

    def report(self, id: str, to: Path | str | None = None, *, language: str = "zh", key: str | None = None) -> bytes:
        """The report of a product that is delivered as one: a PDF, metered like any call; written to ``to`` if given."""
        document: bytes = self._api.request(
            "POST", f"{_PATH}/{quote(id, safe='')}/report", json={"language": language}, as_file=True, repeatable=True,
            headers={"Idempotency-Key": key or uuid.uuid4().hex})
        if to is not None:
            Path(to).write_bytes(document)
        return document

    def _version(self, id: str, number: int, action: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return _dict(self._api.post(f"{_PATH}/{quote(id, safe='')}/versions/{number}/{action}", body))

    def _product(self, id: str, action: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return _dict(self._api.post(f"{_PATH}/{quote(id, safe='')}/{action}", body))


def _dict(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer
    return found
