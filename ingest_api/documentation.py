"""OpenAPI of the raw endpoints: what they take and answer, with examples."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi.responses import Response

from ingest_api.problems import documented
from warehouse.events.schema import Event

_EVENT_EXAMPLE = {
    "event_id": "6f2c1c1e-6f1b-4d0f-9d52-0c2d3f8a7b11",
    "event_type": "page_view",
    "created_at": "2026-11-22T12:30:00.000Z",
    "session_id": "0b7a2a9e-5c0e-4c3b-8a66-0f4f7a0c9d10",
    "user_id": "c7c0a8f2-8d57-4a59-9a67-1f3b0a2d4e55",
    "page_url": "https://shop.example/catalogue?utm_source=newsletter",
    "page_title": "Catalogue",
    "referrer": "https://search.example/",
    "payload": {"page_view_id": "2f8a", "viewport": {"width": 1280, "height": 720}},
}
_BATCH_EXAMPLE = {"sent_at": "2026-11-22T12:30:01.000Z", "events": [_EVENT_EXAMPLE]}

_SCHEMAS, _COMPONENTS = msgspec.json.schema_components([Event], ref_template="#/components/schemas/{name}")
_EVENT = _COMPONENTS["Event"]
_BATCH: dict[str, Any] = {
    "oneOf": [
        {"type": "array", "items": _EVENT, "maxItems": 500},
        {
            "type": "object",
            "required": ["events"],
            "properties": {
                "sent_at": {
                    "type": "string",
                    "format": "date-time",
                    "description": "The sender's clock at the moment of sending; tells how wrong it is.",
                },
                "events": {"type": "array", "items": _EVENT, "maxItems": 500},
            },
        },
    ]
}
_ACCEPTED: dict[str, Any] = {
    "type": "object",
    "required": ["rejected"],
    "properties": {
        "accepted": {"type": "integer", "description": "Events stored now."},
        "duplicates": {
            "type": "integer",
            "description": "Events that were stored before, by `event_id` and `created_at`.",
        },
        "spooled": {
            "type": "integer",
            "description": "In place of the other two while the database is away: events on the local disk.",
        },
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "event_id", "code", "detail"],
                "properties": {
                    "index": {"type": "integer", "description": "Place in the batch, from 0."},
                    "event_id": {"type": ["string", "null"]},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
_KEYS: list[dict[str, Any]] = [
    {
        "name": "key",
        "in": "query",
        "schema": {"type": "string"},
        "description": "The site's public key; or send the header `apikey`.",
    },
    {"name": "apikey", "in": "header", "schema": {"type": "string"}},
]

EVENTS: dict[str, Any] = {
    "status_code": 202,
    "summary": "Send a batch of events",
    "description": (
        "Takes an array of events, or `{sent_at, events}`. The answer 202 means durable. A bad event never spoils its "
        "batch: it is named in `rejected` and kept with its reason. A resend of the same `event_id` and `created_at` "
        "is stored once; without a usable `created_at`, the `event_id` alone decides."
    ),
    "responses": documented(400, 401, 403, 408, 413, 415, 429, 500, 503)
    | {
        202: {
            "description": "Durable",
            "content": {
                "application/json": {
                    "schema": _ACCEPTED,
                    "example": {"accepted": 1, "duplicates": 0, "rejected": []},
                }
            },
        }
    },
    "openapi_extra": {
        "parameters": _KEYS,
        "requestBody": {
            "required": True,
            "content": {
                media_type: {"schema": _BATCH, "example": _BATCH_EXAMPLE}
                for media_type in ("application/json", "text/plain")
            },
        },
    },
}

COLLECTOR: dict[str, Any] = {
    "summary": "The collector",
    "responses": documented(404)
    | {
        200: {"description": "The script", "content": {"text/javascript": {"schema": {"type": "string"}}}},
        304: {"description": "The browser has it"},
    },
}

COLLECTOR_MODULE: dict[str, Any] = COLLECTOR | {"summary": "An optional module of the collector"}

PIXEL: dict[str, Any] = {
    "summary": "An event of a visitor without scripts, or of an e-mail",
    "description": "Always answers a GIF. Global Privacy Control and Do-Not-Track mean that nothing is recorded.",
    "responses": {200: {"description": "A GIF of one pixel", "content": {"image/gif": {}}}},
    "openapi_extra": {
        "parameters": [
            *_KEYS,
            *(
                {"name": name, "in": "query", "schema": {"type": "string"}, "description": description}
                for name, description in (
                    ("event_type", "`page_view` by default."),
                    ("page_url", "The referring page by default."),
                    ("page_title", "Title of the page."),
                    ("referrer", "Where the visitor came from."),
                    ("user_id", "First-party visitor id."),
                    ("session_id", "UUID of the session."),
                    ("event_id", "UUID; a repeated one is stored once."),
                )
            ),
        ]
    },
}

WEBHOOK: dict[str, Any] = {
    "summary": "Tilda's webhook for forms and orders",
    "description": "A form becomes `form_submit`, an order `purchase`; repeated calls are told by `tranid`. The address"
    " is `/api/webhooks/tilda?token=…`, and `&key=` with the site's public key where there are several sites.",
    "responses": documented(400, 401, 403, 404, 413, 415, 503)
    | {200: {"description": "Durable, or a test call", "content": {"text/plain": {"example": "ok"}}}},
    "openapi_extra": {
        "parameters": [
            {"name": "token", "in": "query", "required": True, "schema": {"type": "string"}},
            *_KEYS,
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
                    "example": {"tranid": "1234567:7654321", "formid": "form123", "Email": "a@shop.example"},
                }
            },
        },
    },
}

_POSTGREST_ERROR: dict[str, Any] = {
    "description": "An error as PostgREST writes it; nothing was stored",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["code", "details", "hint", "message"],
                "properties": {
                    "code": {"type": "string"},
                    "details": {"type": ["string", "null"]},
                    "hint": {"type": ["string", "null"]},
                    "message": {"type": "string"},
                },
            },
            "example": {"code": "23514", "details": None, "hint": None, "message": "payload.click must be an object."},
        }
    },
}

_USER: dict[str, Any] = {
    "type": "object",
    "required": ["user_id"],
    "properties": {
        "user_id": {"type": "string", "minLength": 1, "maxLength": 128},
        "first_seen_at": {"type": "string", "format": "date-time"},
        "last_seen_at": {"type": "string", "format": "date-time"},
    },
}
_SESSION: dict[str, Any] = {
    "type": "object",
    "required": ["session_id"],
    "properties": {
        "session_id": {"type": "string", "format": "uuid"},
        "user_id": {"type": "string", "minLength": 1, "maxLength": 128},
        "started_at": {"type": "string", "format": "date-time"},
        "last_seen_at": {"type": "string", "format": "date-time"},
        **{name: {"type": "string", "maxLength": 4096} for name in ("landing_page", "referrer")},
        **{f"utm_{name}": {"type": "string"} for name in ("source", "medium", "campaign", "term", "content")},
        **{name: {"type": "string"} for name in ("device_type", "browser", "os")},
    },
}
_SESSION_EXAMPLE = {
    "session_id": _EVENT_EXAMPLE["session_id"],
    "user_id": _EVENT_EXAMPLE["user_id"],
    "started_at": "2026-11-22T12:30:00.000Z",
    "landing_page": "https://shop.example/catalogue?utm_source=newsletter",
    "utm_source": "newsletter",
}


def _insert(table: str, description: str, schema: dict[str, Any], example: object) -> dict[str, Any]:
    return {
        "status_code": 201,
        "response_class": Response,
        "summary": f"Insert {table} with the Supabase client",
        "description": description,
        "responses": dict.fromkeys((400, 401, 403, 406, 408, 413, 415, 429, 503), _POSTGREST_ERROR)
        | documented(500)
        | {201: {"description": "Durable"}},
        "openapi_extra": {
            "parameters": [
                {"name": "apikey", "in": "header", "schema": {"type": "string"}},
                {"name": "prefer", "in": "header", "schema": {"type": "string"}},
                {"name": "columns", "in": "query", "schema": {"type": "string"}},
                {"name": "on_conflict", "in": "query", "schema": {"type": "string"}},
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [schema, {"type": "array", "items": schema, "maxItems": 500}]},
                        "example": example,
                    }
                },
            },
        },
    }


_COMPLETES = (
    "Atomic, as PostgREST inserts, whether an insert or an upsert. A known row is completed where it is empty, never"
    " changed; the answer does not tell it from a new one. While the database is away: 503, since only events are kept"
    " on the local disk."
)
SUPABASE: dict[str, dict[str, Any]] = {
    "events": _insert(
        "events",
        "Atomic, as PostgREST inserts. A stored event (same `event_id` and `created_at`) is left as it is.",
        _EVENT,
        _EVENT_EXAMPLE,
    ),
    "sessions": _insert("sessions", _COMPLETES, _SESSION, _SESSION_EXAMPLE),
    "users": _insert("users", _COMPLETES, _USER, {"user_id": _EVENT_EXAMPLE["user_id"]}),
}

SUPABASE_READ: dict[str, Any] = {
    "summary": "Reading is refused",
    "responses": {401: _POSTGREST_ERROR},
    "status_code": 401,
}

HEALTH: dict[str, Any] = {
    "summary": "The process lives",
    "responses": {
        200: {"description": "It does", "content": {"application/json": {"example": {"status": "ok"}}}},
    },
}

_READY_EXAMPLE = {
    "ready": True,
    "database": "reachable",
    "spool": {"rows": 0, "bytes": 0, "takes_events": True},
}

READY: dict[str, Any] = {
    "summary": "Events can be taken",
    "description": "Ready while the database is reachable, or is away and the spool takes events.",
    "responses": {
        200: {"description": "They can", "content": {"application/json": {"example": _READY_EXAMPLE}}},
        503: {
            "description": "They cannot",
            "content": {
                "application/json": {
                    "example": {
                        "ready": False,
                        "database": "away",
                        "spool": {"rows": 910_000, "bytes": 1_073_741_824, "takes_events": False},
                    }
                }
            },
        },
    },
}

METRICS: dict[str, Any] = {
    "summary": "Counters and gauges for Prometheus",
    "responses": {200: {"description": "Text format", "content": {"text/plain": {"schema": {"type": "string"}}}}},
}
