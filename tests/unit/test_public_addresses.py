"""The public URL of the API, and the snippet that contains it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from warehouse.kit.addresses import is_local_address, is_within, public_address
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings, load_settings
from warehouse.sites.collector import CollectorSettings
from warehouse.sites.registry import Site
from warehouse.sites.snippet import snippet

SITE = Site(
    "blog",
    "blog",
    ["a.example"],
    "UTC",
    "pk_a+b",
    datetime(2026, 11, 1, tzinfo=UTC),
    collector=CollectorSettings(consent="opt-out"),
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://stats.example.com", "https://stats.example.com"),
        (" HTTPS://Stats.Example.com/ ", "https://stats.example.com"),
        ("https://stats.example.com:8443/tilda/", "https://stats.example.com:8443/tilda"),
        ("https://пример.рф", "https://xn--e1afmkfd.xn--p1ai"),
        ("https://203.0.113.5", "https://203.0.113.5"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8700", "http://127.0.0.1:8700"),
        ("http://localhost:8700/", "http://localhost:8700"),
        ("http://[::1]:8700", "http://[::1]:8700"),
    ],
)
def test_a_valid_url_is_normalised(text: str, address: str) -> None:
    assert public_address(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("stats.example.com", "write https://stats.example.com"),
        ("stats.example.com:8443/x", "write https://stats.example.com:8443/x"),
        ("https:/stats.example.com", "write https://stats.example.com"),
        ("http://stats.example.com", "write https://stats.example.com"),
        ("http://192.168.1.5:8700", "write https://192.168.1.5:8700"),
        ("http://localhost.example.com", "write https://localhost.example.com"),
        ("ftp://stats.example.com", "no web address"),
        ("https://", "no host"),
        ("https://a b.example", "no host"),
        ("https://1.2.3", "no host"),
        ("https://stats.example.com:99999", "no web address"),
        ("https://[::1", "no web address"),
        ("https://owner:secret@stats.example.com", "user name or password"),
        ("https://@stats.example.com", "user name or password"),
        ("https://stats.example.com/?a=1", "without \\? or #"),
        ("https://stats.example.com/#", "without \\? or #"),
        ('https://stats.example.com/a"b', "the path"),
        ("", "no scheme"),
    ],
)
def test_an_invalid_url_is_rejected_with_the_remedy(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        public_address(text)


def test_error_messages_do_not_repeat_passwords() -> None:
    for text in ("https://owner:secret@stats.example.com", "http://owner:secret@[::1", "owner:secret@host"):
        with pytest.raises(ValueError, match="password") as caught:
            public_address(text)
        assert "secret" not in str(caught.value)


def test_public_url_is_checked_when_settings_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://Stats.example.com/")
    assert load_settings().public_url == "https://stats.example.com"
    monkeypatch.setenv("PUBLIC_URL", "stats.example.com")
    with pytest.raises(UserError, match=r"PUBLIC_URL .* has no scheme; write https://stats.example.com"):
        load_settings()


def test_only_loopback_urls_are_local() -> None:
    assert all(map(is_local_address, ("http://localhost:1", "http://127.0.0.2", "http://[::1]:8700")))
    assert not any(map(is_local_address, ("https://localhost.example", "https://10.0.0.1", "https://[2001:db8::1]")))


def test_a_domain_covers_its_subdomains_only() -> None:
    assert is_within("a.example", ["b.example", "a.example"])
    assert is_within("www.a.example", ["a.example"])
    assert not is_within("nota.example", ["a.example"])
    assert not is_within("a.example.evil", ["a.example"])
    assert not is_within("a.example", [])


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, dict[str, str | None]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = dict(attrs)


def settings(**values: str) -> Settings:
    return Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_the_snippet_is_valid_html() -> None:
    tags = _Tags(snippet(SITE, "https://in.example", settings())).tags
    assert list(tags) == ["script", "noscript", "img"]
    assert tags["script"] == {
        "async": None,
        "src": "https://in.example/collector.js?key=pk_a%2Bb",
        "data-site-key": "pk_a+b",
        "data-consent": "opt-out",
    }
    assert tags["img"]["src"] == "https://in.example/api/pixel.gif?key=pk_a%2Bb"


def test_the_snippet_uses_the_configured_paths() -> None:
    tags = _Tags(snippet(SITE, "https://in.example", settings(collector_path="/assets/c.js", pixel_path="/p.gif"))).tags
    assert tags["script"]["src"] == "https://in.example/assets/c.js?key=pk_a%2Bb"
    assert tags["img"]["src"] == "https://in.example/p.gif?key=pk_a%2Bb"


def test_the_snippet_names_the_endpoint_when_the_url_has_a_path() -> None:
    """Without `data-endpoint` the collector sends to the origin of its script, without the path."""
    tags = _Tags(snippet(SITE, "https://in.example/stats", settings())).tags
    assert tags["script"]["src"] == "https://in.example/stats/collector.js?key=pk_a%2Bb"
    assert tags["script"]["data-endpoint"] == "https://in.example/stats"


def test_the_snippet_names_the_consent_mode_and_counts_nobody_who_cannot_consent() -> None:
    """Visitors without JavaScript cannot answer, so only modes that need no answer have a pixel."""
    pixels = {}
    for mode in ("tilda", "opt-in", "opt-out", "cookieless"):
        tags = _Tags(
            snippet(replace(SITE, collector=CollectorSettings(consent=mode)), "https://in.example", settings())
        ).tags
        assert tags["script"]["data-consent"] == mode
        pixels[mode] = tags["img"]["src"] if "img" in tags else None
    address = "https://in.example/api/pixel.gif?key=pk_a%2Bb"
    assert pixels == {"tilda": None, "opt-in": None, "opt-out": address, "cookieless": f"{address}&cookieless=1"}


def test_a_closed_site_has_no_snippet() -> None:
    closed = Site(**{**SITE.__dict__, "is_open": False})
    with pytest.raises(UserError, match="closed") as caught:
        snippet(closed, "https://in.example", settings())
    assert "tilda site set blog --reopen" in caught.value.remedy
