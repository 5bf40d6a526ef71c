"""The channel of a visit follows GA4's published rules and list of sources, from a page's URL to marts.sessions."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from tests.dbt.channel_events import Case, peer_cases, published_sources, rule_cases, source_cases
from tests.dbt.conftest import Models
from tests.dbt.dbt_project import PROJECT
from tests.dbt.events import CHANNEL_SITE
from tests.dbt.oracle.channels import category

# Google Search has a domain under each of these suffixes (google.com/supported_domains).
GOOGLE_COUNTRIES = """
    ad ae al am as at az ba be bf bg bi bj bs bt by ca cd cf cg ch ci cl cm cn cv cz de dj dk dm dz ee es fi fm fr ga ge
    gg gl gm gr gy hn hr ht hu ie im iq is it je jo ki kg kz la li lk lt lu lv md me mg mk ml mn mu mv mw ne nl no nr nu
    pl pn ps pt ro ru rw sc se sh si sk sm sn so sr st td tg tl tm tn to tt vu ws rs cat
    com com.af com.ag com.ar com.au com.bd com.bh com.bn com.bo com.br com.bz com.co com.cu com.cy com.do com.ec com.eg
    com.et com.fj com.gh com.gi com.gt com.hk com.jm com.kh com.kw com.lb com.ly com.mm com.mt com.mx com.my com.na
    com.ng com.ni com.np com.om com.pa com.pe com.pg com.ph com.pk com.pr com.py com.qa com.sa com.sb com.sg com.sl
    com.sv com.tj com.tr com.tw com.ua com.uy com.vc com.vn
    co.ao co.bw co.ck co.cr co.id co.il co.in co.jp co.ke co.kr co.ls co.ma co.mz co.nz co.th co.tz co.ug co.uk co.uz
    co.ve co.vi co.za co.zm co.zw it.ao
"""  # fmt: skip


@pytest.fixture(scope="module")
def channels(models: Models) -> dict[str, str]:
    """Return the channel of each visitor of the cases."""
    rows = models.rows(f"select user_id, channel from marts.sessions where site_id = '{CHANNEL_SITE}'")
    return {row["user_id"]: row["channel"] for row in rows}


def _wrong(cases: list[Case], channels: dict[str, str]) -> list[tuple[Case, str | None]]:
    return [(case, channels.get(case.name)) for case in cases if channels.get(case.name) != case.channel]


def test_channels_follow_the_published_rules_of_ga4(channels: dict[str, str]) -> None:
    cases = rule_cases()
    assert len(cases) >= 100
    assert not _wrong(cases, channels)


def test_channels_agree_with_the_tests_of_plausible_and_posthog(channels: dict[str, str]) -> None:
    cases = peer_cases()
    assert not _wrong(cases, channels)
    # Both peers take some sources without a medium, e.g. `fb-ads`, as paid, and look at the referrer of a click ID.
    assert sum(not case.is_like_peer for case in cases) == 7


def test_every_published_source_has_its_category(channels: dict[str, str]) -> None:
    cases = source_cases()
    assert len(list(published_sources())) == 819
    assert len(cases) > 1_300
    assert not _wrong(cases, channels)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([f"google.{suffix}" for suffix in GOOGLE_COUNTRIES.split()], "search"),
        ([f"images.google.{suffix}" for suffix in GOOGLE_COUNTRIES.split()], "search"),
        (["uk.search.yahoo.com", "r.search.yahoo.com", "search.yahoo.co.jp", "yahoo.co.jp", "yahoo.com"], "search"),
        (["html.duckduckgo.com", "cn.bing.com", "yandex.com.tr", "m.ya.ru", "nova.rambler.ru", "go.mail.ru"], "search"),
        (["docs.google.com", "drive.google.co.uk", "disk.yandex.ru", "passport.yandex.kz", "pan.baidu.com"], None),
        (["google", "www.google.com", "com.google.android.googlequicksearchbox", "yandex_direct"], "search"),
        (["google.zone", "google.shop", "google.a.b.ru", "mygoogle.com", "googlé.com", "yandex.rsya"], None),
        (["vk.com", "m.vk.com", "away.vk.com", "vk.ru", "ok.ru", "m.ok.ru", "my.mail.ru"], "social"),
        (["dzen.ru", "zen.yandex.kz", "l.facebook.com", "old.reddit.com", "someone.livejournal.com"], "social"),
        (["t.me", "web.telegram.org", "org.telegram.messenger", "web.max.ru", "ru.oneme.app"], "social"),
        (["xn--b1aew.xn--p1ai", "vk.com.example.org", "fakevk.com", "", ".", "..", "a" * 300, "a." * 128], None),
        (["rutube.ru", "m.rutube.ru", "vkvideo.ru", "youtube.com", "com.google.android.youtube"], "video"),
        (["avito.ru", "m.avito.ru", "ozon.ru", "wildberries.ru", "market.yandex.ru", "m.market.yandex.kz"], "shopping"),
        (["megamarket.ru", "aliexpress.ru", "ru.aliexpress.com", "amazon.co.jp", "ebay.com.au"], "shopping"),
        (["com.google.android.gm", "mail.google.com", "mail.yandex.ru", "e.mail.ru", "outlook.live.com"], "email"),
        (["chatgpt.com", "perplexity.ai", "gemini.google.com", "copilot.microsoft.com", "claude.ai"], "assistant"),
        (["chat.deepseek.com", "alice.yandex.ru", "giga.chat", "grok.com", "com.openai.chatgpt"], "assistant"),
    ],
)  # fmt: skip
def test_source_is_found_by_its_registrable_domain(models: Models, hosts: list[str], expected: str | None) -> None:
    """Query the compiled macro with other sources than the sites have."""
    found = models.rows(_lookup(models.target, hosts))
    assert {row["traffic_source"]: row["category"] for row in found} == dict.fromkeys(hosts, expected)


def test_lookup_matches_the_recomputation(models: Models) -> None:
    """Sources of the seed with other subdomains, public suffixes and letters around them."""
    rng = random.Random(1)
    sources = [row["source"] for row in _seed("channel_sources")]
    hosts = {
        (
            rng.choice(["", "", "www.", "m.", "a.b.c.", "search.", "mail.", "not", "x-"])
            + rng.choice(sources).replace("*", rng.choice(["ru", "com", "co.uk", "com.tr", "museum", "shop", "it.ao"]))
            + rng.choice(["", "", "", ".ru", ".com", ".co.uk", ".example"])
        )
        for _ in range(1_200)
    }
    found = {row["traffic_source"]: row["category"] for row in models.rows(_lookup(models.target, sorted(hosts)))}
    expected = {host: category(host) for host in hosts}
    assert sum(one is not None for one in expected.values()) > 200
    assert found == expected


def _seed(name: str) -> list[dict[str, str]]:
    with (PROJECT / "seeds" / f"{name}.csv").open(encoding="utf-8", newline="") as seed:
        return list(csv.DictReader(seed))


def _lookup(target: Path, hosts: list[str]) -> str:
    """Return a query for the categories of `hosts`, with the macro as dbt compiled it into a model."""
    compiled = target / "compiled" / "tilda_analytics" / "models" / "intermediate" / "int_session_starts.sql"
    body = compiled.read_text(encoding="utf-8")
    macro = body[body.index("traffic_sources as (") : body.index("acquired as (")].strip().rstrip(",")
    values = ", ".join("($h$" + host + "$h$)" for host in hosts)
    return (
        f"with traced as (select * from (values {values}) as given (traffic_source)),"
        f" channel_sources as (select * from staging.channel_sources), {macro}"
        " select traced.traffic_source, category from traced left join source_categories using (traffic_source)"
    )


def test_list_has_more_sources_than_the_peers() -> None:
    """Snowplow's referer-parser had 433 networks and GA4's list 819 names in November 2025."""
    rows = _seed("channel_sources")
    assert len({row["network"] for row in rows}) > 433
    assert len(rows) > 819
    assert all(row["source"] == row["source"].lower().strip() for row in rows)


def test_every_click_id_has_a_known_source() -> None:
    """A click ID without a medium names a source with a category. One with a medium may name a network without one."""
    sources = {row["source"] for row in _seed("channel_sources")}
    click_ids = _seed("click_ids")
    unknown = {row["source"] for row in click_ids if row["source"] not in sources}
    assert unknown == {"doubleclick", "taboola", "outbrain", "admitad", "impact", "cj"}
    paid = [bool(row["medium"]) for row in sorted(click_ids, key=lambda row: int(row["priority"]))]
    assert paid == sorted(paid, reverse=True)
