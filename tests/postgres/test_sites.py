from __future__ import annotations

from html.parser import HTMLParser

import pytest

from warehouse.errors import UserError
from warehouse.sites import add_site, get_site, list_sites, snippet


def test_a_site_is_registered_and_changed_under_the_same_key(database_url: str) -> None:
    first = add_site(database_url, "blog", ["Example.com.", "example.com", "пример.рф", "127.0.0.1"], "UTC")
    assert (first.name, first.domains) == ("blog", ["example.com", "xn--e1afmkfd.xn--p1ai", "127.0.0.1"])
    assert first.public_key.startswith("pk_")
    assert len(first.public_key) > 20
    second = add_site(database_url, "blog", ["localhost"], "Europe/Moscow", name="My blog")
    third = add_site(database_url, "blog", ["localhost"], "Asia/Tokyo")
    assert (second.public_key, second.domains, second.timezone) == (first.public_key, ["localhost"], "Europe/Moscow")
    assert (third.name, third.timezone, third.created_at) == ("My blog", "Asia/Tokyo", first.created_at)
    other = add_site(database_url, "a-shop", ["shop.example"], "UTC")
    assert other.public_key != first.public_key
    assert list_sites(database_url) == [other, third]
    assert get_site(database_url, "blog") == third


def test_what_cannot_be_a_site_is_refused_with_the_remedy(database_url: str) -> None:
    for site_id, domains, timezone, remedy in (
        ("Blog", ["a.example"], "UTC", "lower-case"),
        ("", ["a.example"], "UTC", "lower-case"),
        ("b" * 64, ["a.example"], "UTC", "lower-case"),
        ("blog\n", ["a.example"], "UTC", "lower-case"),
        ("blog", [], "UTC", "--domain"),
        ("blog", ["https://a.example/page"], "UTC", "a.example."),
        ("blog", ["a.example:8080"], "UTC", "a.example."),
        ("blog", ["*.a.example"], "UTC", "a.example."),
        ("blog", ["a b"], "UTC", "example.com"),
        ("blog", ["1.2.3"], "UTC", "example.com"),
        ("blog", ["a..example"], "UTC", "example.com"),
        ("blog", [""], "UTC", "example.com"),
        ("blog", ["a.example"], "europe/moscow", "Europe/Moscow"),
        ("blog", ["a.example"], "UTC+3", "IANA"),
        ("blog", ["a.example"], "", "IANA"),
        ("blog", ["a.example"], "U\0TC", "IANA"),
    ):
        with pytest.raises(UserError) as caught:
            add_site(database_url, site_id, domains, timezone)
        assert remedy in caught.value.remedy
    assert list_sites(database_url) == []


def test_an_unknown_site_names_the_command_and_the_one_that_was_meant(database_url: str) -> None:
    add_site(database_url, "blog", ["a.example"], "UTC")
    with pytest.raises(UserError) as caught:
        get_site(database_url, "blgo")
    assert "blog?" in caught.value.message
    assert "tilda site add blgo" in caught.value.remedy


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, dict[str, str | None]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = dict(attrs)


def test_the_snippet_is_html_that_a_browser_reads_back(database_url: str) -> None:
    site = add_site(database_url, "blog", ["a.example"], "UTC")
    parser = _Tags()
    parser.feed(snippet(site, 'https://in.example/x"y/'))
    assert parser.tags["script"]["src"] == 'https://in.example/x"y/collector.js'
    assert parser.tags["script"]["data-site-key"] == site.public_key
    assert "async" in parser.tags["script"]
    assert parser.tags["img"]["src"] == f'https://in.example/x"y/api/pixel.gif?key={site.public_key}'
    assert list(parser.tags) == ["script", "noscript", "img"]
