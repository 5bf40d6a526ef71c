from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from tests.postgres.landed import count, event
from warehouse.events.landing import land
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.sites.registry import (
    Difference,
    Removal,
    add_domains,
    add_site,
    ensure_site,
    get_site,
    list_sites,
    remove_domains,
    remove_site,
    set_site,
)


def test_domains_are_stored_as_browsers_send_them(database_url: str) -> None:
    blog = add_site(database_url, "blog", ["Example.com.", "example.com", "пример.рф", "127.0.0.1"], "UTC")
    assert (blog.name, blog.domains) == ("blog", ["example.com", "xn--e1afmkfd.xn--p1ai", "127.0.0.1"])
    assert blog.public_key.startswith("pk_")
    assert len(blog.public_key) > 20
    other = add_site(database_url, "a-shop", ["shop.example"], "Europe/Moscow", name="My shop")
    assert (other.name, other.timezone) == ("My shop", "Europe/Moscow")
    assert other.public_key != blog.public_key
    assert list_sites(database_url) == [other, blog]
    assert get_site(database_url, "blog") == blog


def test_adding_an_existing_site_is_rejected_and_changes_nothing(database_url: str) -> None:
    """Earlier, a second `add` replaced the domains and reset the time zone."""
    before = add_site(database_url, "blog", ["a.example", "b.example"], "Europe/Moscow", name="My blog")
    with pytest.raises(UserError, match="exists already") as caught:
        add_site(database_url, "blog", ["c.example"], "UTC")
    assert "tilda site set blog" in caught.value.remedy
    assert "tilda site domain add blog" in caught.value.remedy
    assert list_sites(database_url) == [before]


def test_ensure_site_does_not_change_an_existing_site(database_url: str) -> None:
    before = ensure_site(database_url, "blog", ["a.example"], "Europe/Moscow")
    assert ensure_site(database_url, "blog", ["b.example"], "UTC") == before
    assert list_sites(database_url) == [before]


def test_a_change_returns_old_and_new_values_and_keeps_other_fields(database_url: str) -> None:
    before = add_site(database_url, "blog", ["a.example"], "UTC")
    change = set_site(database_url, "blog", timezone="Europe/Moscow")
    assert change.changes == {"timezone": Difference("UTC", "Europe/Moscow")}
    assert set_site(database_url, "blog", name="Diary").changes == {"name": Difference("blog", "Diary")}
    assert set_site(database_url, "blog", name="Diary", timezone="Europe/Moscow").changes == {}
    added = add_domains(database_url, "blog", ["B.example", "a.example", "b.example"])
    assert added.changes == {"domains": Difference(["a.example"], ["a.example", "b.example"])}
    removed = remove_domains(database_url, "blog", ["A.EXAMPLE"])
    assert removed.changes == {"domains": Difference(["a.example", "b.example"], ["b.example"])}
    after = get_site(database_url, "blog")
    assert removed.site == after
    assert after == replace(before, name="Diary", timezone="Europe/Moscow", domains=["b.example"])


def test_an_invalid_change_is_rejected_and_changes_nothing(database_url: str) -> None:
    before = add_site(database_url, "blog", ["a.example"], "UTC")
    attempts: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: set_site(database_url, "blog", timezone="europe/moscow"), "Europe/Moscow"),
        (lambda: set_site(database_url, "blog", name=" "), "--name"),
        (lambda: set_site(database_url, "blgo", name="x"), "tilda site list"),
        (lambda: add_domains(database_url, "blog", ["b.example", "https://c.example/"]), "c.example"),
        (lambda: remove_domains(database_url, "blog", ["b.example"]), "a.example"),
        # a site without domains would accept events from every website
        (lambda: remove_domains(database_url, "blog", ["a.example"]), "tilda site domain add blog"),
    )
    for attempt, remedy in attempts:
        with pytest.raises(UserError) as caught:
            attempt()
        assert remedy in caught.value.remedy
    assert list_sites(database_url) == [before]


def test_a_site_without_data_is_removed(database_url: str) -> None:
    add_site(database_url, "blog", ["a.example"], "UTC")
    kept = add_site(database_url, "shop", ["b.example"], "UTC")
    assert remove_site(database_url, "blog", keep_data=False, dry_run=True) == Removal("blog", "removed", {})
    assert len(list_sites(database_url)) == 2
    assert remove_site(database_url, "blog", keep_data=False) == Removal("blog", "removed", {})
    assert list_sites(database_url) == [kept]


def test_a_site_with_data_is_closed_only_with_keep_data_and_reopens_with_its_key(database_url: str) -> None:
    before = add_site(database_url, "shop", ["a.example"], "UTC")
    with connect(database_url) as connection:
        land(connection, [event(user_id="anna", session_id=uuid4()), event()])
        rows = {"public.events": 2, "public.sessions": 1, "public.users": 1}
        with pytest.raises(UserError, match=r"public\.events: 2") as caught:
            remove_site(database_url, "shop", keep_data=False)
        assert "--keep-data" in caught.value.remedy
        assert remove_site(database_url, "shop", keep_data=True, dry_run=True) == Removal("shop", "closed", rows)
        assert get_site(database_url, "shop") == before

        assert remove_site(database_url, "shop", keep_data=True) == Removal("shop", "closed", rows)
        assert get_site(database_url, "shop") == replace(before, is_open=False)
        assert count(connection, "events") == 2
        by_key = "select site_id from public.site_for_key(%s)"
        assert connection.execute(by_key, [before.public_key]).fetchall() == []
        assert connection.execute("select ops.site_exists('shop')").fetchone() == (False,)
        with pytest.raises(UserError, match="exists already and is closed"):
            add_site(database_url, "shop", ["a.example"], "UTC")

        reopened = set_site(database_url, "shop", reopen=True)
        assert reopened.changes == {"is_open": Difference(old=False, new=True)}
        assert reopened.site == before
        assert connection.execute(by_key, [before.public_key]).fetchall() == [("shop",)]
        assert connection.execute("select ops.site_exists('shop')").fetchone() == (True,)


def test_invalid_sites_are_rejected_with_the_remedy(database_url: str) -> None:
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


def test_an_unknown_site_is_reported_with_a_suggestion(database_url: str) -> None:
    add_site(database_url, "blog", ["a.example"], "UTC")
    with pytest.raises(UserError) as caught:
        get_site(database_url, "blgo")
    assert "blog?" in caught.value.message
    assert "tilda site list" in caught.value.remedy
    assert "tilda site add blgo" in caught.value.remedy
