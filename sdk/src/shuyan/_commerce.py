"""Products, and what is bought, paid and called."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import PrivateAttr, ValidationError

from shuyan._collection import Collection
from shuyan._http import Api, not_understood
from shuyan._models import CardPayment, Entitlement, Order, Record
from shuyan._products import ProductLives


class Product(Record):
    """A product on the market, and calling it."""

    id: str
    organisation_id: str
    tier: int
    sector: str
    delivery_form: str
    title_zh: str
    title_en: str
    status: str
    _api: Api = PrivateAttr()

    def call(self, *, features: dict[str, Any] | None = None, group: dict[str, str] | None = None,
             key: str | None = None) -> dict[str, Any]:
        """Call the product under the caller's entitlement; counted once, also when retried.

        Args:
            features: for a model, the values to score.
            group: for a table, the one group to return; the whole table without it.
            key: idempotency key; a new one without it.
        """
        return call_product(self._api, self.id, features=features, group=group, key=key)


def call_product(api: Api, id: str, *, features: dict[str, Any] | None, group: dict[str, str] | None,
                 key: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {name: value for name, value in (("features", features), ("group", group)) if value is not None}
    answer: dict[str, Any] = api.post(f"/products/{quote(id, safe='')}/calls", body, key=key, once=True)
    return answer


class Products(Collection[Product], ProductLives):
    """Products, from draft to sale; tests, reviews and retirement are in :class:`shuyan._products.ProductLives`."""

    _path, _kind = "/products", Product

    def publish(self, id: str) -> Product:
        """Put the newest registered version on the storefront."""
        return self._do(id, "list")

    def suspend(self, id: str, reason: str = "") -> Product:
        """Take the product off the storefront and stop its delivery; those who oversee the market say why."""
        return self._do(id, "suspend", {"reason": reason})

    def create(self, *, title_zh: str, title_en: str, sector: str, delivery_form: str, tier: int = 2,
               **texts: str) -> Product:
        """Draft a product; ``texts`` are ``summary_…``, ``description_…`` and ``terms_…`` with ``zh`` and ``en``."""
        return self._record(self._api.post(self._path, {
            "title_zh": title_zh, "title_en": title_en, "sector": sector, "delivery_form": delivery_form, "tier": tier,
            **texts}))

    def card(self, id: str) -> dict[str, Any]:
        """The model card of a product that delivers a model, as for :meth:`Job.card`.

        Raises:
            ProblemResponse: it delivers no model (``card_of_models_only``).
        """
        found: dict[str, Any] = self._api.get(f"/products/{id}/card")
        return found

    def call(self, id: str, *, features: dict[str, Any] | None = None, group: dict[str, str] | None = None,
             key: str | None = None) -> dict[str, Any]:
        """:meth:`Product.call` without reading the product first."""
        return call_product(self._api, id, features=features, group=group, key=key)


class Orders(Collection[Order]):
    """Purchases."""

    _path, _kind = "/orders", Order

    def place(self, product_id: str, *, key: str | None = None) -> Order:
        """Order a product; the same ``key`` (idempotency key) gives the same order."""
        return self._record(self._api.post(self._path, {"product_id": product_id}, key=key, once=True))

    def pay(self, id: str, *, bank_reference: str, amount_fen: int) -> Order:
        """Record that the buyer's transfer has arrived. For the operator."""
        return self._do(id, "payment", {"bank_reference": bank_reference, "amount_fen": amount_fen}, once=True)

    def cancel(self, id: str) -> Order:
        """Cancel an unpaid order; an open payment by card is closed first."""
        return self._do(id, "cancel")

    def pay_by_card(self, id: str) -> CardPayment:
        """Stripe's page on which the order can be paid by card: open ``url`` in a browser. Asked again, it is the same page while it is open."""
        return self._card(self._api.post(f"{self._path}/{quote(id, safe='')}/card"))

    def card(self, id: str) -> CardPayment:
        """How the newest payment by card stands; Stripe is asked. :class:`NotFound` if none was begun."""
        return self._card(self._api.get(f"{self._path}/{quote(id, safe='')}/card"))

    def _card(self, data: dict[str, Any]) -> CardPayment:
        try:
            return CardPayment.model_validate(data)
        except ValidationError as error:
            raise not_understood() from error

    def refund(self, id: str, *, bank_reference: str | None = None) -> Order:
        """Refund a paid order whose entitlement was never called; ``bank_reference`` is of the transfer, for one paid by bank. For the operator."""
        return self._do(id, "refund", {"bank_reference": bank_reference} if bank_reference else {})

    def give_back(self, id: str) -> Order:
        """Give card money back that does not match the order. For the operator."""
        return self._do(id, "give-back")

    def preview(self, id: str) -> dict[str, Any]:
        """The invoice as it would be now: fees, calls, and how the revenue is shared."""
        answer: dict[str, Any] = self._api.get(f"{self._path}/{quote(id, safe='')}/invoice-preview")
        return answer


class Entitlements(Collection[Entitlement]):
    """What the caller's organisation may call."""

    _path, _kind = "/entitlements", Entitlement
