"""`tilda site`, `tilda snippet`, and the error of every command for an unknown site."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from demo import loading
from tests.postgres.landed import event
from tilda.cli import cli
from tilda.commands import sites
from warehouse.events.landing import land
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError


@pytest.fixture(autouse=True)
def url(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.delenv("PUBLIC_URL", raising=False)
    return database_url


def tilda(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, standalone_mode=False)


def printed(*arguments: str) -> str:
    result = tilda(*arguments)
    assert result.exception is None, result.exception
    return result.output


def refused(*arguments: str) -> str:
    result = tilda(*arguments)
    assert isinstance(result.exception, UserError), (result.exception, result.output)
    return str(result.exception)


def test_a_site_is_added_once_and_shown() -> None:
    assert "tilda snippet shop" in printed("site", "add", "shop", "--domain", "shop.example", "--name", "My shop")
    before = json.loads(printed("site", "show", "shop", "--json"))
    assert (before["name"], before["domains"], before["is_open"]) == ("My shop", ["shop.example"], True)
    said = refused("site", "add", "shop", "--domain", "other.example")
    assert "The site shop exists already" in said
    assert "tilda site set shop" in said
    assert json.loads(printed("site", "show", "shop", "--json")) == before
    assert json.loads(printed("site", "list", "--json")) == [before]
    assert f"key: {before['public_key']}" in printed("site", "show", "shop")


def test_changes_are_printed_as_old_and_new_values() -> None:
    printed("site", "add", "shop", "--domain", "shop.example")
    said = printed("site", "set", "shop", "--timezone", "Europe/Moscow", "--name", "Boots")
    assert "timezone: UTC → Europe/Moscow" in said
    assert "name: shop → Boots" in said
    said = printed("site", "domain", "add", "shop", "b.example", "c.example")
    assert "domains: shop.example → shop.example, b.example, c.example" in said
    change = json.loads(printed("site", "domain", "remove", "shop", "shop.example", "--json"))
    assert change["changes"] == {
        "domains": {"old": ["shop.example", "b.example", "c.example"], "new": ["b.example", "c.example"]}
    }
    assert change["site"]["timezone"] == "Europe/Moscow"
    assert "nothing to change" in printed("site", "domain", "add", "shop", "b.example")
    assert tilda("site", "set", "shop").exit_code != 0


def test_collector_settings_are_added_shown_and_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://stats.example.com")
    said = printed("site", "add", "shop", "--domain", "shop.example", "--query", "size, color", "--no-shop")
    assert "consent mode tilda: count visitors who accept analytics" in said
    shown = printed("site", "show", "shop")
    assert "consent: tilda\nshop: no\nquery: size, color\n" in shown
    assert "exclude" not in shown, "settings with their default are left out"

    said = printed("site", "set", "shop", "--consent", "opt-out", "--query", "", "--no-privacy-signals")
    assert "consent: tilda → opt-out" in said
    assert "query: size, color → none" in said
    assert "privacy signals: yes → no" in said
    assert "within an hour" in said
    assert "tilda snippet shop" in said
    assert 'data-consent="opt-out"' in printed("snippet", "shop")
    change = json.loads(printed("site", "set", "shop", "--shop", "--json"))
    assert change["changes"] == {"shop": {"old": False, "new": True}}
    assert change["site"]["collector"]["consent"] == "opt-out"
    assert "nothing to change" in printed("site", "set", "shop", "--shop", "--consent", "opt-out")
    assert "--exclude contains" in refused("site", "set", "shop", "--exclude", "a" * 200)


def test_the_consent_mode_is_asked_for_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "_is_interactive", lambda: True)
    add = ["site", "add", "shop", "--domain", "shop.example"]
    result = CliRunner().invoke(cli, add, standalone_mode=False, input="cookieless\n")
    assert result.exception is None
    assert "When may visitors be counted?" in result.output
    assert "consent: cookieless" in printed("site", "show", "shop")
    assert "counted?" not in printed("site", "add", "blog", "--domain", "blog.example", "--consent", "opt-in")
    assert json.loads(printed("site", "add", "docs", "--domain", "docs.example", "--json"))["collector"]["consent"] == (
        "tilda"
    )


def test_invalid_settings_in_the_database_do_not_break_a_site(url: str) -> None:
    """Members of the team may write public.sites with the Supabase client."""
    printed("site", "add", "shop", "--domain", "shop.example")
    with connect(url) as connection:
        connection.execute("""update public.sites set collector = '{"consent": 7, "query": ["size"], "other": 1}'""")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("update public.sites set collector = '[]'")
    assert "consent: tilda\nshop: yes\nquery: size\n" in printed("site", "show", "shop")


def test_the_currency_of_reports_can_be_chosen() -> None:
    printed("site", "add", "shop", "--domain", "shop.example", "--currency", "kzt")
    assert json.loads(printed("site", "show", "shop", "--json"))["reporting_currency"] == "KZT"
    assert "reporting currency: KZT → EUR" in printed("site", "set", "shop", "--currency", "EUR")
    assert "'rubles' is not a currency code" in refused("site", "set", "shop", "--currency", "rubles")


def test_one_flag_allows_tildas_preview_domain() -> None:
    printed("site", "add", "shop", "--domain", "shop.example", "--allow-tilda-preview")
    assert "shop.example, tilda.ws" in printed("site", "show", "shop")
    printed("site", "add", "blog", "--domain", "blog.example")
    assert "blog.example → blog.example, tilda.ws" in printed("site", "domain", "add", "blog", "--allow-tilda-preview")
    assert "needs a domain" in refused("site", "add", "other")


def test_removing_a_site_needs_confirmation_and_keeps_data(url: str) -> None:
    printed("site", "add", "shop", "--domain", "shop.example")
    printed("site", "add", "typo", "--domain", "shop.example")
    assert "Add --yes." in refused("site", "remove", "typo")
    assert "Would remove the site typo" in printed("site", "remove", "typo", "--dry-run")
    assert "typo" in printed("site", "list")
    printed("site", "remove", "typo", "--yes")
    assert "typo" not in printed("site", "list")

    with connect(url) as connection:
        land(connection, [event()])
    assert "public.events: 1" in refused("site", "remove", "shop", "--yes")
    assert "Would close the site shop" in printed("site", "remove", "shop", "--keep-data", "--dry-run")
    done = json.loads(printed("site", "remove", "shop", "--keep-data", "--yes", "--json"))
    assert done == {"site_id": "shop", "action": "closed", "rows": {"public.events": 1}}
    assert "state: closed" in printed("site", "show", "shop")
    assert "tilda site set shop --reopen" in refused("snippet", "shop", "--ingest-url", "https://a.example")
    assert "state: closed → open" in printed("site", "set", "shop", "--reopen")


def test_the_snippet_uses_the_public_url(monkeypatch: pytest.MonkeyPatch) -> None:
    printed("site", "add", "shop", "--domain", "shop.example")
    assert "PUBLIC_URL=https://" in refused("snippet", "shop")  # there is no default URL
    assert "no scheme; write https://stats.example.com" in refused(
        "snippet", "shop", "--ingest-url", "stats.example.com"
    )
    assert "write https://10.0.0.5" in refused("snippet", "shop", "--ingest-url", "http://10.0.0.5:8700")
    assert "this machine only" in printed("snippet", "shop", "--ingest-url", "http://127.0.0.1:8700")

    monkeypatch.setenv("PUBLIC_URL", "https://stats.example.com/t/")
    monkeypatch.setenv("COLLECTOR_PATH", "/assets/c.js")
    monkeypatch.setenv("PIXEL_PATH", "/p.gif")
    printed("site", "set", "shop", "--consent", "cookieless")
    said = printed("snippet", "shop")
    assert 'src="https://stats.example.com/t/assets/c.js?key=pk_' in said
    assert 'data-consent="cookieless"' in said
    assert 'src="https://stats.example.com/t/p.gif?key=pk_' in said
    assert "this machine" not in said
    assert 'src="https://b.example/assets/c.js?key=pk_' in printed(
        "snippet", "shop", "--ingest-url", "https://b.example"
    )


def test_every_command_suggests_the_site_for_a_typo(tmp_path: Path) -> None:
    """Earlier, a typo in `--site` printed an empty table."""
    printed("site", "add", "shop", "--domain", "shop.example")
    file = tmp_path / "events.jsonl"
    file.write_text("")
    audience = ("--format", "audience", "--network", "vk", "--consent", "ads")
    for command in (
        ("site", "show", "shpo"),
        ("site", "set", "shpo", "--name", "x"),
        ("site", "remove", "shpo", "--yes"),
        ("site", "domain", "add", "shpo", "a.example"),
        ("site", "domain", "remove", "shpo", "a.example"),
        ("snippet", "shpo"),
        ("check", "shpo"),
        ("rejected", "list", "--site", "shpo"),
        ("rejected", "list", "--site", "shpo", "--json"),
        ("rejected", "replay", "--site", "shpo"),
        ("import", str(file), "--site", "shpo", "--format", "events"),
        ("scores", "export", "--site", "shpo"),
        ("scores", "export", "--site", "shpo", *audience),
        ("models", "list", "--site", "shpo"),
        ("models", "rollback", "--site", "shpo", "--reason", "x"),
    ):
        assert "There is no site 'shpo'. Did you mean shop?" in refused(*command), command


def test_the_demo_adds_its_sites_once_and_does_not_change_a_real_site(url: str) -> None:
    first = loading.ensure_demo_site(url, "blog", ["semicomplete.com"], "UTC")
    assert loading.ensure_demo_site(url, "blog", ["semicomplete.com"], "UTC") == first
    assert first.collector.consent == "opt-out"
    printed("site", "add", "shop", "--domain", "real-shop.example")
    with pytest.raises(UserError, match=r"real-shop\.example"):
        loading.ensure_demo_site(url, "shop", ["shop.example", "127.0.0.1"], "UTC")
