"""The settings of a site: their normal form, the collector's options, and the text of the script."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from ingest_api.problems import ProblemError
from ingest_api.public.collector_script import (
    CollectorEndpoint,
    common_options,
    module_paths,
    with_options,
    written_options,
)
from ingest_api.public.operator_warnings import OperatorWarnings
from ingest_api.public.sites import Site, SiteRegistry
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings
from warehouse.sites.collector import CollectorSettings

PAYMENT_SITES = (
    "paypal.com stripe.com yookassa.ru yoomoney.ru robokassa.ru cloudpayments.ru prodamus.ru tinkoff.ru tbank.ru"
    " sberbank.ru alfabank.ru vtb.ru payanyway.ru paykeeper.ru"
)


def settings(**values: str) -> Settings:
    return Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_only_the_last_empty_object_is_replaced_by_the_settings() -> None:
    build = "(()=>{let a=f({});window.x=a})({});\n"
    assert with_options(build, '{"path":"/e"}') == '(()=>{let a=f({});window.x=a})({"path":"/e"});\n'


def test_a_build_without_a_place_for_settings_is_an_error() -> None:
    with pytest.raises(ProblemError, match="make collector"):
        with_options("(()=>{})();", "{}")


def test_settings_are_safe_in_a_script_element_and_keep_their_values() -> None:
    hostile = {"query": "</script><script>alert(1)//", "exclude": "<!--", "x": "\u2028\u2029\"'\\ é 😀", "consent": ""}
    written = written_options(hostile)
    assert written.isascii()
    assert "<" not in written
    assert json.loads(written) == hostile


def test_options_have_the_form_of_a_dataset() -> None:
    assert CollectorSettings().options() == {"consent": "tilda", "referrerExclusions": PAYMENT_SITES}
    chosen = CollectorSettings().changed(
        {
            "consent": "opt-in",
            "shop": False,
            "query": "size, color,size",
            "privacy_signals": False,
            "exclude": "/admin/* /draft",
            "referrer_exclusions": "Pay.Example.",
            "form_fields": ["city"],
            "hash_email": True,
            "hash_pages": True,
            "cookie_domain": "shop.example",
            "server_cookie": True,
            "fingerprint": True,
            "web_vitals": True,
        }
    )
    assert chosen.options() == {
        "consent": "opt-in",
        "query": "size color",
        "privacySignals": "off",
        "exclude": "/admin/* /draft",
        "referrerExclusions": f"{PAYMENT_SITES} pay.example",
        "formFields": "city",
        "hashEmail": "",
        "hash": "",
        "cookieDomain": "shop.example",
        "serverCookie": "",
        "fingerprint": "",
        "webVitals": "",
    }
    assert CollectorSettings.from_json(json.loads(json.dumps(chosen.as_json()))) == chosen
    assert CollectorSettings().as_json() == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("consent", "maybe", "--consent is 'maybe'"),
        ("query", [" "], "--query contains ' '"),
        ("query", ["a" * 101], "--query contains"),
        ("query", [f"n{number}" for number in range(51)], "--query has 51 entries"),
        ("query", ["a\x07b"], "--query contains"),
        ("form_fields", 7, "--form-fields is not a list"),
        ("shop", "yes", "--shop is neither true nor false"),
        ("cookie_domain", "no host", "is no host name"),
        ("referrer_exclusions", "https://pay.example", "is no host name"),
    ],
)
def test_an_invalid_setting_is_an_error_and_is_ignored_when_it_is_stored(
    name: str, value: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        CollectorSettings().changed({name: value})
    stored = {name: value, "unknown": 1, "hash_email": True}
    assert CollectorSettings.from_json(stored) == CollectorSettings(hash_email=True)


def test_the_script_names_the_events_path_and_the_address_behind_a_path_prefix() -> None:
    assert common_options(settings()) == {"path": "/api/events"}
    assert common_options(settings(events_path="/e", public_url="https://in.example")) == {"path": "/e"}
    assert common_options(settings(public_url="https://in.example/stats/")) == {
        "path": "/api/events",
        "endpoint": "https://in.example/stats",
    }


def test_modules_are_served_under_the_name_of_the_collector(tmp_path: Path) -> None:
    for name in ("collector.base.js", "collector.shop.js", "collector.vitals.js", "LICENSE.txt"):
        (tmp_path / name).touch()
    vitals = tmp_path / "collector.vitals.js"
    assert module_paths("/collector.js", tmp_path) == {"/collector.vitals.js": vitals}
    assert module_paths("/assets/c.js", tmp_path) == {
        "/assets/collector.vitals.js": vitals,
        "/assets/c.vitals.js": vitals,
    }


class Sites:
    """The list of sites in Postgres, which a test changes."""

    def __init__(self, *sites: Site) -> None:
        self.sites = sites

    async def load(self) -> Sequence[Site]:
        return self.sites

    async def restore(self) -> Sequence[Site]:
        return []

    async def keep(self, _: Sequence[Site]) -> None: ...


def test_the_script_follows_the_site_and_the_build(tmp_path: Path) -> None:
    (tmp_path / "collector.base.js").write_text("base(7)({});")
    (tmp_path / "collector.shop.js").write_text("shop(7)({});")
    stored = Sites(Site("shop", "pk_shop", ()), Site("blog", "pk_blog", (), CollectorSettings(shop=False)))
    warnings = OperatorWarnings()

    async def get(endpoint: CollectorEndpoint, query: str) -> Response:
        return await endpoint(Request({"type": "http", "query_string": query.encode(), "headers": []}))

    async def run() -> None:
        registry = SiteRegistry(stored.load, stored.restore, stored.keep)
        await registry.refresh()
        endpoint = CollectorEndpoint(registry, warnings, settings(), tmp_path)
        shop, blog = await get(endpoint, "key=pk_shop"), await get(endpoint, "key=pk_blog")
        assert bytes(shop.body).startswith(b'shop(7)({"siteKey":"pk_shop","consent":"tilda",')
        assert bytes(blog.body).startswith(b'base(7)({"siteKey":"pk_blog","consent":"tilda",')
        assert shop.headers["cache-control"] == "public, max-age=600, stale-while-revalidate=2400"
        assert (await get(endpoint, "key=pk_shop")).body is shop.body, "the script is compressed once"
        assert not warnings.sentences()

        nobody = await get(endpoint, "key=pk_nobody")
        assert (nobody.body, nobody.headers["cache-control"]) == (b"base(7)({});", "public, max-age=60")
        assert not warnings.sentences(), "a single unknown key may be a scanner's"
        await asyncio.gather(*(get(endpoint, "key=pk_nobody") for _ in range(9)))
        assert "10 recent requests loaded the collector with a key that no open site has" in warnings.sentences()[0]
        for _ in range(10):
            assert (await get(endpoint, "")).body == b"base(7)({});"
        assert "10 recent requests loaded the collector without a key" in warnings.sentences()[1]

        stored.sites = (Site("shop", "pk_shop", (), CollectorSettings(consent="opt-out", query=("size",))),)
        await registry.refresh()
        changed = await get(endpoint, "key=pk_shop")
        assert b'"consent":"opt-out","query":"size"' in changed.body
        assert changed.headers["etag"] != shop.headers["etag"]

        (tmp_path / "collector.shop.js").write_text("shop(8)({});")
        os.utime(tmp_path / "collector.shop.js", (1, 1))
        assert bytes((await get(endpoint, "key=pk_shop")).body).startswith(b"shop(8)({")
        (tmp_path / "collector.shop.js").unlink()
        with pytest.raises(ProblemError, match="make collector"):
            await get(endpoint, "key=pk_shop")

    asyncio.run(run())
