"""`POST /api/webhooks/tilda`: forms and orders, reported by Tilda's servers.

The browser's event may be lost or blocked, so the webhook's event is authoritative. Both contain the transaction number
(`tranid`), by which the models count them as one conversion. The visitor's input is not stored: e-mail addresses and
telephone numbers are hashed, and other fields are stored by name only.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import math
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec
from fastapi import Request
from fastapi.responses import PlainTextResponse, Response
from starlette.types import Scope

from ingest_api.problems import ProblemError
from ingest_api.public import openapi
from ingest_api.public.pipeline import Envelope, Headers, Pipeline, Sender
from ingest_api.public.requests import public_key, read_body, require_media_type
from ingest_api.public.server_cookie import read_cookie
from ingest_api.public.sites import Site
from warehouse.events.identity import email_sha256, phone_sha256

SOURCE = "webhook"
TOKEN = "token"  # noqa: S105 - the name of the field
MAX_FIELDS = 2000
HONEYPOT = "form-spec-comments"
"""A hidden form field. An event whose form has a value in it is marked as a bot's."""

JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"

_OWN_FIELDS = re.compile(
    r"tranid|formid|formname|cookies|referer|test|token|payment.*|tildaspec-.*|form-spec-comments", re.IGNORECASE
)
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_NUMBER = re.compile(r"-?\d(?:[\d\s.,'\u2019]*\d)?")
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(?:(?:,\d{3})+|(?:\.\d{3}){2,})")
"""A number whose separators all separate thousands: 1,990 and 1.990.000, but not 1.990."""
_PRODUCT = re.compile(r"(.+?)(?:\s+x\s+(\d{1,6})|\s+-\s+(\d{1,6})x[\d.,]+)?\s*[=≡]\s*(-?[\d\s.,]+)", re.DOTALL)
"""A product as text: its name, perhaps its quantity, and the amount of the line."""


DESCRIPTION = openapi.describe(
    "Tilda's webhook for forms and orders",
    "A form becomes a `form_submit` event, an order a `purchase`. A repeated call has the same `tranid` and is a"
    " duplicate. The URL is `/api/webhooks/tilda?token=…`; if there are several sites, add `&key=` with the site's"
    " public key. The token may also be sent in the header `token` or in the form's field `token`. Tilda's setting"
    " `application/json` is accepted as well.",
    answers={200: openapi.plain_answer("Durable, or a test call", "text/plain")},
    problems=[400, 401, 403, 404, 413, 415, 429, 503],
    parameters=[
        {"name": TOKEN, "in": "query", "schema": {"type": "string"}},
        openapi.header(TOKEN),
        *openapi.KEY,
    ],
    body=openapi.form_body(
        {"tranid": "1234567:7654321", "formid": "form123", "Email": "a@shop.example"},
        "application/x-www-form-urlencoded",
        "application/json",
    ),
)


class WebhookEndpoint:
    """Converts a form or an order into one `form_submit` or `purchase` event.

    Args:
        pipeline: The steps of ingestion.
        token: The secret that Tilda sends. If it is None, the endpoint answers 404.
    """

    def __init__(self, pipeline: Pipeline, token: str | None) -> None:
        self._pipeline = pipeline
        self._token = token

    async def __call__(self, request: Request) -> Response:
        """Answer 200 `ok` after the event is durable. Tilda repeats a call without an answer within five seconds."""
        if self._token is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "webhook_closed", "Set TILDA_WEBHOOK_TOKEN to open the webhook.")
        scope = request.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        outside = _tokens_outside_the_form(request)
        if outside and not self._is_token(outside):
            raise _wrong_token()
        require_media_type(headers, FORM, JSON)
        body = await read_body(request.receive, headers, self._pipeline.max_request_bytes)
        is_json = headers.get(b"content-type", b"").lower().startswith(JSON)
        fields = _read_json(body) if is_json else _read_form(body)
        values = dict(fields)
        if not outside and not self._is_token([values.get(TOKEN, "")]):
            raise _wrong_token()
        if values.get("test") == "test":
            return PlainTextResponse("ok")
        site = await self._site(scope, headers)
        event = make_event(fields, site.site_id, self._token)
        envelope = Envelope(SOURCE, [msgspec.json.encode(event)], is_bot=bool(values.get(HONEYPOT)))
        await self._pipeline.receive(Sender(site, None, None, is_exempt=True), envelope)
        return PlainTextResponse("ok")

    def _is_token(self, given: list[str]) -> bool:
        wanted = (self._token or "").encode()
        return any(hmac.compare_digest(text.encode(), wanted) for text in given)

    async def _site(self, scope: Scope, headers: Headers) -> Site:
        """Return the site of the URL's key, or without a key the only registered site.

        Raises:
            ProblemError: The key is unknown or missing (401), or the page belongs to another website (403).
        """
        try:
            site = await self._pipeline.sites.by_key(public_key(scope["query_string"], headers))
        except ProblemError as problem:
            only = self._pipeline.sites.only_site()
            if problem.code != "missing_key":
                raise
            if only is None:
                detail = "Several sites are registered. Add &key= with this site's public key to the URL."
                raise ProblemError(HTTPStatus.UNAUTHORIZED, "missing_key", detail) from None
            return only
        self._pipeline.check_origin(scope, headers, site)
        return site


def _tokens_outside_the_form(request: Request) -> list[str]:
    """Return the tokens in the URL and in headers; Tilda's settings allow both, besides the form."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = [request.query_params.get(TOKEN), request.headers.get(TOKEN), request.headers.get("x-webhook-token")]
    return [text for text in (*given, bearer.strip() if scheme.lower() == "bearer" else None) if text]


def _wrong_token() -> ProblemError:
    detail = "Send the webhook's token as ?token=, as the header token, or as the form's field token."
    return ProblemError(HTTPStatus.UNAUTHORIZED, "wrong_token", detail)


def _read_form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        detail = "The body is not a urlencoded form in UTF-8."
        raise ProblemError(HTTPStatus.BAD_REQUEST, "invalid_form", detail) from None


def _read_json(body: bytes) -> list[tuple[str, str]]:
    """Read the fields of a JSON object. Numbers, objects and arrays become JSON texts, as in a form's `payment`."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        detail = "The body is not a JSON object in UTF-8."
        raise ProblemError(HTTPStatus.BAD_REQUEST, "invalid_form", detail) from None
    if len(fields) > MAX_FIELDS:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "invalid_form", f"The body has more than {MAX_FIELDS:,} fields.")
    return [
        (name, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        for name, value in fields.items()
        if value is not None
    ]


def make_event(fields: list[tuple[str, str]], site_id: str, secret: str) -> dict[str, Any]:
    """Make the event of a webhook call.

    The event ID is an HMAC of the transaction number, so that a repeated call is a duplicate, and so that nobody can
    post an event with this ID in advance by guessing an order number. The event has no `created_at`: its time is the
    arrival of the first call. Tilda sends the transaction number 0 for "none".

    Args:
        fields: Names and values of the form.
        site_id: The site's ID.
        secret: The webhook's token, the key of the HMAC.
    """
    values = {name.lower(): value.replace("\x00", "") for name, value in fields}
    transaction = _known_number(values.get("tranid"))
    order = _order(fields)
    # Without a transaction number, the order number identifies the call. Without both, the content does, because a
    # repeated call has the same content.
    identity = (
        transaction
        or (f"order\n{order['id']}" if order is not None and "id" in order else None)
        or hashlib.sha256(repr(sorted(fields)).encode(errors="surrogatepass")).hexdigest()
    )
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
                "email_sha256": email_sha256(values.get("email", "")),
                "phone_sha256": phone_sha256(values.get("phone", "")),
            }
        ),
    }
    if order is not None:
        payload["order"] = order
    page = values.get("tildaspec-referer") or values.get("referer")
    return {
        "event_id": str(_keyed_uuid(secret, f"{site_id}\n{identity}")),
        "event_type": "form_submit" if order is None else "purchase",
        "user_id": read_cookie(values.get("cookies", "")),
        "page_url": page if page and page.startswith(("http://", "https://")) else None,
        "payload": payload,
    }


def _keyed_uuid(secret: str, name: str) -> UUID:
    """Return a UUID of version 8 (RFC 9562, custom) from HMAC-SHA-256."""
    digest = hmac.new(secret.encode(), name.encode(errors="surrogatepass"), hashlib.sha256).digest()
    number = int.from_bytes(digest[:16])
    number = number & ~(0xF << 76) | 8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=number)


def _order(fields: list[tuple[str, str]]) -> dict[str, Any] | None:
    """Read the order from JSON in `payment`, or from fields such as `payment[products][0][name]`; None if absent."""
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
            "id": _known_number(payment.get("orderid")),
            "amount": _number(payment.get("amount")),
            "currency": _text(payment.get("currency") or payment.get("currency_code")),
            "promocode": _text(payment.get("promocode")),
            "items": [item for one in products[:100] if (item := _item(one))] if isinstance(products, list) else None,
        }
    )


def _put(target: dict[str, Any], path: list[str], value: str) -> None:
    """Set a value such as `payment[products][0][name]=x` as PHP does; ignore an empty path or one over four levels."""
    if not path or len(path) > 4:
        return
    for name in path[:-1]:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        target = inner
    target[path[-1] or str(len(target))] = value


def _item(product: object) -> dict[str, Any]:
    """Read a product: an object, or a text unless Tilda's setting "products as an array" is on."""
    if not isinstance(product, dict):
        return _item_of_text(_text(product) or "")
    return _without_empty(
        {
            "id": _text(product.get("sku") or product.get("externalid")),
            "sku": _text(product.get("sku")),
            "name": _name(_text(product.get("name")) or ""),
            "quantity": _number(product.get("quantity")),
            "amount": _number(product.get("amount")),
            "price": _number(product.get("price")),
        }
    )


def _item_of_text(product: str) -> dict[str, Any]:
    """Read a product such as `Tea (T-1) x 2 ≡ 700`, `Tea - 2x350 = 700` or `Tea=350`; the name alone if it is not."""
    match = _PRODUCT.fullmatch(product.strip())
    if match is None:
        return _without_empty({"name": _name(product.strip())})
    quantity = int(match[2] or match[3] or 1)
    amount = _number(match[4])
    price = None if amount is None or not quantity else _plain(round(amount / quantity, 2))
    return _without_empty({"name": _name(match[1]), "quantity": quantity, "amount": amount, "price": price})


def _name(text: str) -> str:
    """Return a product's name as on its page: Tilda's cart escapes quotes for HTML."""
    return html.unescape(text)


def _text(value: object) -> str | None:
    return str(value)[:300] if isinstance(value, str | int | float) and value != "" else None


def _known_number(value: object) -> str | None:
    """Return the number of a transaction or an order as text; None for 0, which Tilda sends if there is none."""
    text = _text(value)
    return None if text is None or text.rpartition(":")[2].strip() in {"", "0"} else text


def _number(value: object) -> float | int | None:
    """Parse a number as people and Tilda write it; None if the value has no digits or is not finite.

    Of several different separators, the last one is the decimal point. A single comma before three digits separates
    thousands: `1,990` is 1990. A single point is a decimal point: `4.500` is 4.5.
    """
    if isinstance(value, int | float):
        return value
    match = _NUMBER.search(value) if isinstance(value, str) else None
    if match is None:
        return None
    text = re.sub(r"[\s'\u2019]", "", match[0])
    if _THOUSANDS.fullmatch(text):
        text = re.sub(r"[.,]", "", text)
    number = float(re.sub(r"[.,](?=.*[.,])", "", text).replace(",", "."))
    return _plain(number) if math.isfinite(number) else None


def _plain(number: float) -> float | int:
    return int(number) if number.is_integer() else number


def _without_empty(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if value not in (None, "", [])}
