"""`POST /api/webhooks/tilda`: forms and orders, reported by Tilda's servers.

The browser's event may be lost or blocked, so the webhook's event is authoritative. Both contain the transaction number
(`tranid`), by which the models count them as one conversion. The visitor's input is not stored: e-mail addresses and
telephone numbers are hashed, and other fields are stored by name only.
"""

from __future__ import annotations

import hashlib
import hmac
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
MAX_FIELD_NAME = 64
HONEYPOT = "form-spec-comments"
"""A hidden form field. An event whose form has a value in it is marked as a bot's."""

_OWN_FIELDS = re.compile(
    r"tranid|formid|formname|cookies|test|token|payment.*|tildaspec-.*|form-spec-comments", re.IGNORECASE
)
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


DESCRIPTION = openapi.describe(
    "Tilda's webhook for forms and orders",
    "A form becomes a `form_submit` event, an order a `purchase`. A repeated call has the same `tranid` and is a"
    " duplicate. The URL is `/api/webhooks/tilda?token=…`; if there are several sites, add `&key=` with the site's"
    " public key. The token may also be sent in the header `token` or in the form's field `token`.",
    answers={200: openapi.plain_answer("Durable, or a test call", "text/plain")},
    problems=[400, 401, 403, 404, 413, 415, 429, 503],
    parameters=[
        {"name": TOKEN, "in": "query", "schema": {"type": "string"}},
        openapi.header(TOKEN),
        *openapi.KEY,
    ],
    body=openapi.form_body({"tranid": "1234567:7654321", "formid": "form123", "Email": "a@shop.example"}),
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
        require_media_type(headers, b"application/x-www-form-urlencoded")
        body = await read_body(request.receive, headers, self._pipeline.max_request_bytes)
        fields = _read_form(body)
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


def make_event(fields: list[tuple[str, str]], site_id: str, secret: str) -> dict[str, Any]:
    """Make the event of a webhook call.

    The event ID is an HMAC of the transaction number, so that a repeated call is a duplicate, and so that nobody can
    post an event with this ID in advance by guessing an order number. The event has no `created_at`: its time is the
    arrival of the first call.

    Args:
        fields: Names and values of the form.
        site_id: The site's ID.
        secret: The webhook's token, the key of the HMAC.
    """
    values = {name.lower(): value.replace("\x00", "") for name, value in fields}
    transaction = values.get("tranid", "")
    # Without a transaction number, the content identifies the call, because a repeated call has the same content.
    identity = transaction or hashlib.sha256(repr(sorted(fields)).encode(errors="surrogatepass")).hexdigest()
    payload: dict[str, Any] = {
        "form": _without_empty(
            {
                "id": _text(values.get("formid")),
                "name": _text(values.get("formname") or values.get("tildaspec-formname")),
                "tranid": transaction,
                "fields": sorted({name[:MAX_FIELD_NAME] for name, _ in fields if not _OWN_FIELDS.fullmatch(name)})[:50],
            }
        ),
        "identity": _without_empty(
            {
                "email_sha256": email_sha256(values.get("email", "")),
                "phone_sha256": phone_sha256(values.get("phone", "")),
            }
        ),
    }
    order = _order(fields)
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
            "id": _text(payment.get("orderid")),
            "amount": _number(payment.get("amount")),
            "currency": _text(payment.get("currency") or payment.get("currency_code")),
            "promocode": _text(payment.get("promocode")),
            "items": [_item(product) for product in products[:100]] if isinstance(products, list) else None,
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
    """Parse a number in Tilda's formats (`1 990,50`, `1990.5`); None if it is not a finite number."""
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


def _without_empty(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if value not in (None, "", [])}
