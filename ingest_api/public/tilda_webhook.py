"""`POST /api/webhooks/tilda`: forms and orders as Tilda's own servers report them.

The browser's event may be lost or blocked; this one is authoritative. Both carry the transaction (`tranid`), by which
they count as one conversion. What a visitor typed stays with the owner's CRM: of an e-mail address or a telephone
number only a hash is kept, and of the other fields their names.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID, uuid5

import msgspec
from fastapi import Request
from fastapi.responses import PlainTextResponse, Response
from starlette.types import Scope

from ingest_api.problems import ProblemError
from ingest_api.public.pipeline import Headers, Intake, Sender
from ingest_api.public.requests import read_body, require_media_type
from ingest_api.public.server_cookie import read_cookie
from ingest_api.public.sites import ONLY_SITE, Site
from warehouse.events.validation import InvalidEventError, parse_event, reject

SOURCE = "webhook"
NAMESPACE = UUID("5a0c3f0e-6a53-4f0e-9d0b-7d5b8f6f3c21")
MAX_FIELDS = 2000
HONEYPOT = "form-spec-comments"
"""A field that people do not see. Whoever fills it in is flagged as a bot."""

_OWN_FIELDS = re.compile(
    r"tranid|formid|formname|cookies|test|token|payment.*|tildaspec-.*|form-spec-comments", re.IGNORECASE
)
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_TILDA = Sender(address=None, user_agent=None, is_service=True)


class WebhookEndpoint:
    """Turns a form or an order into one `form_submit` or `purchase`.

    Args:
        intake: The common parts.
        token: The secret in the webhook's address; without one the endpoint is closed.
    """

    def __init__(self, intake: Intake, token: str | None) -> None:
        self._intake = intake
        self._token = token

    async def __call__(self, request: Request) -> Response:
        """Answer 200 `ok` after the event is durable. Tilda repeats what is not answered so within five seconds."""
        if self._token is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "webhook_closed", "Set TILDA_WEBHOOK_TOKEN to open the webhook.")
        if not hmac.compare_digest(request.query_params.get("token", "").encode(), self._token.encode()):
            detail = "The address needs ?token= with the webhook's token."
            raise ProblemError(HTTPStatus.UNAUTHORIZED, "wrong_token", detail)
        intake, scope = self._intake, request.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        require_media_type(headers, b"application/x-www-form-urlencoded")
        body = await read_body(request.receive, headers, intake.max_request_bytes)
        try:
            fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST, "invalid_form", "The body is no urlencoded form in UTF-8."
            ) from None
        if dict(fields).get("test") == "test":
            return PlainTextResponse("ok")
        site = await self._site(scope, headers)
        arrived_at = datetime.now(UTC)
        raw = msgspec.json.encode(make_event(fields, site.site_id))
        try:
            row = intake.row(parse_event(raw, intake.limits), site, _TILDA, SOURCE, arrived_at)
            row.is_bot = bool(dict(fields).get(HONEYPOT))
        except InvalidEventError as refusal:
            row = intake.refusal(reject(0, raw, refusal), site, SOURCE, arrived_at)
        await intake.store([row], SOURCE)
        return PlainTextResponse("ok")

    async def _site(self, scope: Scope, headers: Headers) -> Site:
        """The site that the address names, or the only one there is: the token has been checked."""
        try:
            return await self._intake.site(scope, headers)
        except ProblemError as problem:
            if problem.code != "missing_key":
                raise
        try:
            return await self._intake.sites.find(ONLY_SITE)
        except ProblemError as problem:
            if problem.code != "unknown_key":
                raise
            detail = "There are several sites: name this one, adding &key= with its public key."
            raise ProblemError(HTTPStatus.UNAUTHORIZED, "missing_key", detail) from None


def make_event(fields: list[tuple[str, str]], site_id: str) -> dict[str, Any]:
    """The event of a webhook call. Its id follows from the transaction, so that a repeated call is a duplicate.

    It carries no time of its own: when the first call arrived is when it happened.
    """
    values = {name.lower(): value.replace("\x00", "") for name, value in fields}
    transaction = values.get("tranid", "")
    # Without a transaction number the content must do: a repeated call has the same.
    identity = transaction or hashlib.sha256(repr(sorted(fields)).encode(errors="surrogatepass")).hexdigest()
    payload: dict[str, Any] = {
        "form": _without_empty(
            {
                "id": values.get("formid"),
                "name": values.get("formname") or values.get("tildaspec-formname"),
                "tranid": transaction,
                "fields": sorted({name for name, _ in fields if not _OWN_FIELDS.fullmatch(name)})[:50],
            }
        ),
        "identity": _without_empty(
            {
                "email_sha256": _hash(values.get("email", "").strip().lower()),
                "phone_sha256": _hash(re.sub(r"\D", "", values.get("phone", ""))),
            }
        ),
    }
    order = _order(fields)
    if order is not None:
        payload["order"] = order
    page = values.get("tildaspec-referer") or values.get("referer")
    return {
        "event_id": str(uuid5(NAMESPACE, f"{site_id}\n{identity}")),
        "event_type": "form_submit" if order is None else "purchase",
        "user_id": read_cookie(values.get("cookies", "")),
        "page_url": page if page and page.startswith(("http://", "https://")) else None,
        "payload": payload,
    }


def _order(fields: list[tuple[str, str]]) -> dict[str, Any] | None:
    """The order, from either encoding: JSON in `payment`, or `payment[amount]`, `payment[products][0][name]`."""
    payment: Any = None
    nested: dict[str, Any] = {}
    for name, value in fields:
        if name.lower() == "payment":
            try:
                payment = msgspec.json.decode(value)
            except (msgspec.DecodeError, RecursionError):
                payment = None
        elif name.lower().startswith("payment["):
            _put(nested, _BRACKETS.findall(name), value)
    payment = payment if isinstance(payment, dict) else nested
    if not payment:
        return None
    products = payment.get("products")
    if isinstance(products, dict):
        products = list(products.values())
    return _without_empty(
        {
            "id": _text(payment.get("orderid")),
            "amount": _number(payment.get("amount")),
            "currency": _text(payment.get("currency") or payment.get("currency_code")),
            "promocode": _text(payment.get("promocode")),
            "items": [_item(product) for product in products[:100]] if isinstance(products, list) else None,
        }
    )


def _put(target: dict[str, Any], path: list[str], value: str) -> None:
    """`payment[products][0][name]=x` as PHP reads it; at most four levels, and a name without one is left out."""
    if not path or len(path) > 4:
        return
    for name in path[:-1]:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        target = inner
    target[path[-1] or str(len(target))] = value


def _item(product: object) -> object:
    if not isinstance(product, dict):
        return _text(product)
    return _without_empty(
        {
            "id": _text(product.get("sku") or product.get("externalid")),
            "name": _text(product.get("name")),
            "quantity": _number(product.get("quantity")),
            "amount": _number(product.get("amount")),
            "price": _number(product.get("price")),
        }
    )


def _text(value: object) -> str | None:
    return str(value)[:300] if isinstance(value, str | int | float) and value != "" else None


def _number(value: object) -> float | int | None:
    """A number as Tilda writes it: `1 990,50` or `1990.5`."""
    if isinstance(value, int | float):
        return value
    text = re.sub(r"\s", "", value).replace(",", ".") if isinstance(value, str) else ""
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def _hash(text: str) -> str | None:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest() if text else None


def _without_empty(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if value not in (None, "", [])}
