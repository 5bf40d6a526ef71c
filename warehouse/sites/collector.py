"""The collector's settings of a site: stored in `public.sites.collector`, sent to pages as part of `/collector.js`."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from functools import cache
from typing import Any, Self

from warehouse.kit.addresses import host_name
from warehouse.kit.errors import UserError
from warehouse.kit.installation import shipped

CONSENT_MODES = {
    "tilda": "count visitors who accept analytics in Tilda's cookie block (T972)",
    "opt-in": "count visitors after the page calls consent(true)",
    "opt-out": "count visitors until the page calls consent(false)",
    "cookieless": "count visitors without storing anything in their browsers, with IDs that live for one day",
}
"""Each mode of consent with its description."""
DEFAULT_CONSENT = "tilda"
COOKIELESS = "cookieless"
WITHOUT_CONSENT = ("opt-out", COOKIELESS)
"""Modes that also count visitors who cannot answer, such as those without JavaScript."""

MAX_ENTRIES = 50
MAX_ENTRY = 100
_ENTRY = re.compile(r"[^\s,]{1,100}")
_SEPARATORS = re.compile(r"[\s,]+")
_PAYMENT_SITES = shipped("dbt_project/seeds/referrer_exclusions.csv")


def _setting(default: object, help_: str, attribute: str | None) -> Any:  # noqa: ANN401 - the default of any field
    """Declare a setting.

    Args:
        default: Default value.
        help_: Description for the command line.
        attribute: The collector's name for the setting: the `data-` attribute in camel case; None if the collector does
            not read the setting.
    """
    return field(default=default, metadata={"help": help_, "attribute": attribute})


@dataclass(frozen=True)
class CollectorSettings:
    """The collector's settings of a site. Every `data-` attribute in the page takes precedence."""

    consent: str = _setting(DEFAULT_CONSENT, "When visitors are counted.", "consent")
    shop: bool = _setting(True, "Record carts, orders and payments of Tilda's shop.", None)
    query: tuple[str, ...] = _setting(
        (), "Query parameters to keep in page URLs, besides campaign parameters.", "query"
    )
    privacy_signals: bool = _setting(
        True, "Treat Global Privacy Control and Do-Not-Track as a refusal.", "privacySignals"
    )
    exclude: tuple[str, ...] = _setting((), "Paths that are not counted; a * at the end matches any rest.", "exclude")
    referrer_exclusions: tuple[str, ...] = _setting(
        (), "Domains, besides payment services, from which visitors return within their session.", "referrerExclusions"
    )
    form_fields: tuple[str, ...] = _setting((), "Form fields whose values are stored.", "formFields")
    hash_email: bool = _setting(False, "Store a hash of e-mail addresses that are typed into forms.", "hashEmail")
    hash_pages: bool = _setting(False, "Count a change of #… as another page.", "hash")
    cookie_domain: str = _setting("", "Domain of the cookie, so that its subdomains share visitors.", "cookieDomain")
    server_cookie: bool = _setting(False, "Let the API set the visitor's cookie.", "serverCookie")
    fingerprint: bool = _setting(False, "Load the module that recognizes devices, after consent.", "fingerprint")
    web_vitals: bool = _setting(False, "Load the module that measures LCP, INP, CLS, FCP and TTFB.", "webVitals")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read the column `public.sites.collector`. Unknown settings and invalid values are ignored.

        Anyone with a team login may write the column, and an invalid value must not stop the API.
        """
        known: dict[str, Any] = {}
        for one in fields(cls):
            value = stored.get(one.name)
            try:
                if value is not None:
                    known[one.name] = _checked(one, value)
            except UserError:
                continue
        return cls(**known)

    def as_json(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, for the column `public.sites.collector`."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}

    def changed(self, values: Mapping[str, object]) -> Self:
        """Return these settings with other values by name; lists may be text, separated by commas or spaces.

        Raises:
            UserError: A value is invalid.
        """
        by_name = {one.name: one for one in fields(self)}
        checked: dict[str, Any] = {name: _checked(by_name[name], value) for name, value in values.items()}
        return replace(self, **checked)

    def options(self) -> dict[str, str]:
        """Return the settings as the collector reads them, in the form of an element's `dataset`.

        Lists are separated by spaces; a flag that is set is an empty string; defaults are left out, except `consent`.
        """
        options: dict[str, str] = {"consent": self.consent}
        for one in fields(self):
            attribute, value = one.metadata["attribute"], getattr(self, one.name)
            if attribute is None or value == one.default:
                continue
            if isinstance(value, tuple):
                options[attribute] = " ".join(value)
            elif isinstance(value, bool):
                options[attribute] = "" if value else "off"
            else:
                options[attribute] = value
        options["referrerExclusions"] = " ".join((*_payment_sites(), *self.referrer_exclusions))
        return options


DEFAULTS = CollectorSettings()


@cache
def _payment_sites() -> tuple[str, ...]:
    """Return the domains of payment services. The models use the same list."""
    with _PAYMENT_SITES.open(newline="") as file:
        return tuple(row["domain"] for row in csv.DictReader(file))


def _checked(setting: Field[Any], value: object) -> object:
    """Return a valid value in its normal form.

    Raises:
        UserError: The value is invalid; the message names the option of the command line.
    """
    default = setting.default
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise _invalid(setting.name, "is neither true nor false", "Use true or false.")
        return value
    if isinstance(default, tuple):
        return _entries(setting.name, value)
    if not isinstance(value, str):
        raise _invalid(setting.name, "is not text", "Use a text.")
    if setting.name == "consent":
        if value not in CONSENT_MODES:
            raise _invalid(setting.name, f"is {value!r}", f"Use {', '.join(CONSENT_MODES)}.")
        return value
    return host_name(value) if value else ""


def _entries(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part for part in _SEPARATORS.split(value) if part]
    if not isinstance(value, list | tuple):
        raise _invalid(name, "is not a list", "Separate the entries with commas.")
    if len(value) > MAX_ENTRIES:
        raise _invalid(name, f"has {len(value)} entries", f"Use at most {MAX_ENTRIES}.")
    wrong = next((one for one in value if not _is_entry(one)), None)
    if wrong is not None:
        raise _invalid(name, f"contains {str(wrong)[:MAX_ENTRY]!r}", f"Use 1 to {MAX_ENTRY} printable characters.")
    normal: Callable[[str], str] = host_name if name == "referrer_exclusions" else str
    return tuple(dict.fromkeys(map(normal, value)))


def _is_entry(value: object) -> bool:
    return isinstance(value, str) and bool(_ENTRY.fullmatch(value)) and value.isprintable()


def _invalid(name: str, reason: str, remedy: str) -> UserError:
    return UserError(f"--{name.replace('_', '-')} {reason}.", remedy)
