"""OpenAPI descriptions of endpoints, built from the msgspec types of requests and answers.

Each endpoint's module has its own description; these functions turn types into arguments of `add_api_route`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ingest_api.problems import documented

Description = dict[str, Any]
"""Arguments of FastAPI's `add_api_route`."""

_REFERENCE = "#/inline/{name}"

KEY: list[dict[str, Any]] = [
    {
        "name": "key",
        "in": "query",
        "schema": {"type": "string"},
        "description": "The site's public key. Alternatively, send the header `apikey`.",
    },
    {"name": "apikey", "in": "header", "schema": {"type": "string"}},
]
COOKIELESS: dict[str, Any] = {
    "name": "cookieless",
    "in": "query",
    "schema": {"type": "string", "enum": ["1"]},
    "description": "`1` to recognize the visitor for one day only: a keyed hash of address and user agent replaces"
    " `user_id`, and no session ID, identity, address or user agent is stored.",
}


def describe(
    summary: str,
    description: str = "",
    *,
    answers: Mapping[int, dict[str, Any]],
    problems: Sequence[int] = (),
    parameters: Sequence[dict[str, Any]] = (),
    body: dict[str, Any] | None = None,
) -> Description:
    """Describe an operation.

    Args:
        summary: A few words.
        description: Markdown.
        answers: Answers by status, from `json_answer` or `plain_answer`; the first one is the usual answer.
        problems: Statuses that are answered with an RFC 9457 problem document.
        parameters: OpenAPI parameters, such as `KEY`.
        body: Request body, from `json_body` or `form_body`.
    """
    extra: dict[str, Any] = {"parameters": list(parameters)}
    if body is not None:
        extra["requestBody"] = body
    return {
        "summary": summary,
        "description": description,
        "status_code": next(iter(answers)),
        "responses": documented(*problems) | dict(answers),
        "openapi_extra": extra,
    }


def json_answer(description: str, type_: Any, example: object) -> dict[str, Any]:  # noqa: ANN401 - any msgspec type
    """Describe a JSON answer of a msgspec type."""
    content = {"schema": schema(type_), "example": msgspec.to_builtins(example)}
    return {"description": description, "content": {"application/json": content}}


def plain_answer(description: str, media_type: str | None = None) -> dict[str, Any]:
    """Describe an answer that is not JSON or has no body."""
    return {"description": description} | ({"content": {media_type: {}}} if media_type else {})


def json_body(types: Sequence[Any], example: object, *media_types: str) -> dict[str, Any]:
    """Describe a JSON body of one of several msgspec types, under one or several media types."""
    content = {"schema": {"anyOf": [schema(type_) for type_ in types]}, "example": msgspec.to_builtins(example)}
    return {"required": True, "content": dict.fromkeys(media_types or ("application/json",), content)}


def form_body(example: Mapping[str, str], *media_types: str) -> dict[str, Any]:
    """Describe a form with arbitrary fields under one or several media types."""
    content = {"schema": {"type": "object", "additionalProperties": True}, "example": dict(example)}
    return {"required": True, "content": dict.fromkeys(media_types, content)}


def query_parameters(type_: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """Describe one query parameter for each field of a struct, from the field's `Meta`."""
    properties: dict[str, dict[str, Any]] = schema(type_)["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "schema": {"type": "string"},
            "description": properties[name].get("description", ""),
        }
        for name in type_.__struct_fields__
    ]


def header(name: str) -> dict[str, Any]:
    """Describe an optional header."""
    return {"name": name, "in": "header", "schema": {"type": "string"}}


def schema(type_: Any) -> dict[str, Any]:  # noqa: ANN401 - any msgspec type
    """Return the JSON schema of a msgspec type, with all references resolved."""
    (found,), components = msgspec.json.schema_components([type_], ref_template=_REFERENCE)
    return _inline(found, components)


def _inline(value: Any, components: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_inline(one, components) for one in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        return _inline(components[reference.rpartition("/")[2]], components)
    return {name: _inline(one, components) for name, one in value.items()}
