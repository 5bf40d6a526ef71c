"""Identifiers by which a person asks for their data (e-mail address, order, …), and their forms in events."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from warehouse.events.identity import email_sha256, phone_sha256
from warehouse.events.schema import MAX_USER_ID
from warehouse.kit.errors import UserError

Kind = Literal["visitor", "email", "phone", "external-id", "order"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_NAMES: dict[Kind, str] = {
    "visitor": "visitor ID",
    "email": "e-mail address",
    "phone": "telephone number",
    "external-id": "external ID",
    "order": "order number",
}
_MAX_LENGTH = 320
"""Maximum number of characters: the longest e-mail address."""


@dataclass(frozen=True)
class Identifier:
    """An identifier of a person. Create it with `parse`."""

    kind: Kind
    value: str

    @classmethod
    def parse(cls, kind: Kind, text: str) -> Identifier:
        """Parse and validate user input.

        Raises:
            UserError: The text is not a valid identifier of this kind.
        """
        value = text if kind == "visitor" else text.strip()
        problem = None
        if not value or "\x00" in value or len(value) > (MAX_USER_ID if kind == "visitor" else _MAX_LENGTH):
            problem = f"has 1 to {MAX_USER_ID if kind == 'visitor' else _MAX_LENGTH} characters"
        elif kind == "email" and not re.fullmatch(r"[^\s@]+@[^\s@]+", value):
            problem = "looks like anna@example.com"
        elif kind == "phone" and not 5 <= len(re.sub(r"\D", "", value)) <= 15:
            problem = "looks like +7 900 123-45-67"
        if problem is not None:
            name = _NAMES[kind]
            raise UserError(
                f"{text!r} cannot be {_article(name)} {name}.", f"{_article(name).title()} {name} {problem}."
            )
        return cls(kind, value)

    @property
    def name(self) -> str:
        """Return the name of this kind of identifier."""
        return _NAMES[self.kind]

    @property
    def identities(self) -> frozenset[tuple[str, str | int]]:
        """Return the members of `payload.identity` that match the identifier."""
        if self.kind == "email":
            return frozenset(("email_sha256", one) for one in _both_cases(email_sha256(self.value)))
        if self.kind == "phone":
            hashes = [hash_ for digits in self._phone_spellings() for hash_ in _both_cases(phone_sha256(digits))]
            return frozenset(("phone_sha256", one) for one in hashes)
        if self.kind == "external-id":
            return frozenset(("external_id", one) for one in _as_text_and_number(self.value))
        return frozenset()

    @property
    def fragments(self) -> list[dict[str, Any]]:
        """Return all JSON fragments by which a payload may contain the identifier."""
        found: list[dict[str, Any]] = [{"identity": {name: value}} for name, value in sorted(self.identities, key=str)]
        if self.kind == "email":
            # A site may also store the address itself, as a trait of identify() or as a form field.
            for spelling in dict.fromkeys((self.value, self.value.lower())):
                found.append({"identity": {"email": spelling}})
                found += [{"form": {"fields": {field: spelling}}} for field in ("Email", "email")]
        if self.kind == "order":
            found += [{"order": {"id": one}} for one in _as_text_and_number(self.value)]
            found.append({"form": {"tranid": self.value}})
        return found

    @property
    def links(self) -> list[str]:
        """Return the values of `intermediate.int_visitor_links.link` that match the identifier."""
        if self.kind == "email":
            return [f"email:{email_sha256(self.value)}"]
        if self.kind == "external-id":
            return [f"external:{self.value}"]
        if self.kind == "order":
            return [f"order:{self.value}", f"transaction:{self.value.rpartition(':')[2]}"]
        return []

    @property
    def is_personal(self) -> bool:
        """Return whether visitors who share the identifier are one person. A shop may reuse order numbers."""
        return self.kind != "order"

    def _phone_spellings(self) -> list[str]:
        """Return the digits of the number; for Russian numbers with both prefixes, because people write 8 for +7."""
        digits = re.sub(r"\D", "", self.value)
        if len(digits) == 11 and digits[0] in "78":
            return [f"7{digits[1:]}", f"8{digits[1:]}"]
        return [digits]


def contains(value: Any, fragment: Any) -> bool:  # noqa: ANN401 - any JSON
    """Return whether a JSON value contains a fragment without arrays, as the jsonb operator `@>`."""
    if isinstance(fragment, dict):
        return isinstance(value, dict) and all(
            name in value and contains(value[name], part) for name, part in fragment.items()
        )
    return type(value) is type(fragment) and value == fragment


def _both_cases(hash_: str | None) -> list[str]:
    return [hash_, hash_.upper()] if hash_ else []


def _as_text_and_number(value: str) -> list[str | int]:
    """Return the value as a string, and as a number if possible, because sites may send IDs as numbers."""
    is_number = re.fullmatch(r"0|[1-9]\d{0,17}", value) is not None
    return [value, int(value)] if is_number else [value]


def _article(name: str) -> str:
    return "an" if name[0] in "aeio" else "a"
