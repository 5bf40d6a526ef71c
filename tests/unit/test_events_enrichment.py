from __future__ import annotations

import json
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.event_strategies import urls
from warehouse.events.enrichment import clean, make_row, parse_url, truncate_address
from warehouse.events.schema import Event


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        (" 203.0.113.77 ", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2002:cb00:714d::1", "203.0.113.0/24"),  # 6to4: the first 48 bits contain the full IPv4 address
        ("fe80::1%eth0", "fe80::/48"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:db8:1::/48", "2001:db8:1::/48"),
        ("203.0.113", None),
        ("1.2.3.4:5678", None),
        ("1.2.3.4/x", None),
        ("1.2.3.4/-1", None),
        ("9" * 100_000, None),
        ("", None),
        (None, None),
    ],
)
def test_addresses_are_truncated_to_their_network(address: str | None, network: str | None) -> None:
    assert truncate_address(address) == network


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://WWW.Example.com/A%20b?x=1#y", "example.com", "/A b"),
        ("https://example.com", "example.com", "/"),
        ("https://example.com.:8443/x", "example.com", "/x"),
        ("https://user:secret@example.com/x", "example.com", "/x"),
        ("android-app://com.google.android.gm/", "com.google.android.gm", "/"),
        ("/only/a/path", None, "/only/a/path"),
        ("javascript:alert(1)", None, None),
        ("not a url", None, None),
        ("http://[::1", None, None),
        (None, None, None),
    ],
)
def test_urls_are_split_into_host_and_path(url: str | None, host: str | None, path: str | None) -> None:
    assert parse_url(url)[:2] == (host, path)


@given(urls, urls)
@settings(max_examples=200, deadline=None)
def test_hostile_urls_become_text_of_bounded_length(page_url: str, referrer: str) -> None:
    event = Event(event_id=uuid4(), event_type="page_view", page_url=page_url, referrer=referrer)
    row = make_row(event, site_id="s", source="api", address=None, user_agent=None)
    for text, most in (
        (row.page_url, 4096),
        (row.page_path, 4096),
        (row.page_host, 255),
        (row.referrer_host, 255),
        *((getattr(row, f"utm_{name}"), 200) for name in ("source", "medium", "campaign", "term", "content")),
    ):
        assert text is None or (0 < len(text) <= most and "\x00" not in text and text.encode())


def test_utm_values_come_from_the_payload_or_the_url_never_both() -> None:
    url = "https://example.com/?utm_source=url&UTM_Medium=Email&utm_campaign=&utm_source=second"

    def campaign(payload: dict[str, object] | None) -> tuple[str | None, ...]:
        event = Event(event_id=uuid4(), event_type="page_view", page_url=url, payload=payload)
        row = make_row(event, site_id="s", source="api", address=None, user_agent=None)
        return row.utm_source, row.utm_medium, row.utm_campaign

    assert campaign(None) == ("url", "Email", None)
    assert campaign({"utm": {"source": "session", "campaign": 5}}) == ("session", None, None)
    assert campaign({"utm": {}}) == campaign({"utm": {"source": ""}}) == ("url", "Email", None)


@pytest.mark.parametrize(
    ("query", "source"),
    [
        ("utm_source=first&utm_source=second", "first"),
        ("utm_source=&utm_source=second", "second"),
        ("utm_source=%20&UTM_SOURCE=second&utm_source=third", "second"),
        ("&".join(f"x{number}=1" for number in range(150)) + "&utm_source=a&" + "&y=1" * 100, "a"),
        ("utm_source=a&" + "&".join(f"x{number}=1" for number in range(1_000)), "a"),
        ("utm_source=" + "ж" * 199 + "яю", "ж" * 199 + "я"),
        # An emoji is one code point and two UTF-16 units: half of it must never remain.
        ("utm_source=" + "a" * 199 + "😀b", "a" * 199 + "😀"),
        ("utm_source=" + "a" * 200 + "😀", "a" * 200),
        ("utm_source=" + "😀" * 201, "😀" * 200),
        # Shortened before control characters and outer spaces are removed, so that shortening twice changes nothing.
        ("utm_source=%0A%0A" + "a" * 200, "a" * 198),
        ("utm_source=" + "a" * 198 + "%20%20b", "a" * 198),
    ],
)
def test_first_utm_value_is_kept_and_shortened_to_200_code_points(query: str, source: str) -> None:
    def stored(page_url: str | None, payload: dict[str, object] | None = None) -> str | None:
        event = Event(event_id=uuid4(), event_type="page_view", page_url=page_url, payload=payload)
        return make_row(event, site_id="s", source="api", address=None, user_agent=None).utm_source

    assert stored(f"https://example.com/?{query}") == source
    assert stored(None, {"utm": {"source": source}}) == source


ALL_CLICK_IDS = [
    "gclid", "gbraid", "wbraid", "gad_source", "dclid", "yclid", "ysclid", "ymclid", "vkclid", "rb_clickid", "fbclid",
    "msclkid", "ttclid", "twclid", "li_fat_id", "rdt_cid", "ScCid", "epik", "qclid", "tblci", "dicbo", "admitad_uid",
    "irclickid", "cjevent",
]  # fmt: skip


def click_ids(page_url: str | None, payload: dict[str, object] | None = None) -> dict[str, str] | None:
    event = Event(event_id=uuid4(), event_type="click", page_url=page_url, payload=payload)
    return make_row(event, site_id="s", source="api", address=None, user_agent=None).click_ids


@pytest.mark.parametrize("name", ALL_CLICK_IDS)
def test_each_click_id_is_read_from_the_url(name: str) -> None:
    assert click_ids(f"https://example.com/a?x=1&{name}=Cj0-_Abc.9") == {name.lower(): "Cj0-_Abc.9"}
    assert click_ids(f"/a?{name.upper()}=%D0%96+1#{name}=no") == {name.lower(): "Ж 1"}
    assert click_ids(f"https://example.com/{name}=1?x{name}=1&{name}x=2&y={name}=3") is None


def test_click_ids_of_an_event_fit_the_column() -> None:
    query = "&".join(f"{name}={'😀' * 600}" for name in ALL_CLICK_IDS)
    section: dict[str, object] = {name.lower(): "😀" * 600 for name in ALL_CLICK_IDS}
    for kept in (click_ids(f"/?{query}"), click_ids(None, {"click_ids": section})):
        assert kept
        assert len(json.dumps(kept, ensure_ascii=False).encode()) < 24_576  # events_click_ids_are_bounded


def test_click_ids_and_campaign_are_read_together() -> None:
    url = "https://example.com/?utm_source=x&gclid=1&gclid=2&wbraid=&yclid=" + "9" * 600
    event = Event(event_id=uuid4(), event_type="page_view", page_url=url)
    row = make_row(event, site_id="s", source="api", address=None, user_agent=None)
    assert (row.utm_source, row.click_ids) == ("x", {"gclid": "1", "yclid": "9" * 512})


def test_click_ids_of_the_payload_override_those_of_the_url() -> None:
    url = "https://example.com/?gclid=url&fbclid=url"
    section: dict[str, object] = {"gclid": "session", "yclid": "session", "fbclid": 5, "other": "x", "ttclid": " "}
    expected = {"gclid": "session", "fbclid": "url", "yclid": "session"}
    assert click_ids(url, {"click_ids": section}) == expected
    assert click_ids(None, {"click_ids": section}) == {"gclid": "session", "yclid": "session"}
    assert click_ids(url) == {"gclid": "url", "fbclid": "url"}
    for odd in (None, [], "gclid", 5, {}):
        assert click_ids(None, {"click_ids": odd}) is None


@given(st.text(max_size=50))
@settings(max_examples=100, deadline=None)
def test_clean_text_is_bounded_and_storable(text: str) -> None:
    kept = clean(text, 20)
    assert kept is None or (0 < len(kept) <= 20 and kept == kept.strip() and "\x00" not in kept and kept.encode())
