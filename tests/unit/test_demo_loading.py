"""Simulations of a shop for a site."""

from datetime import UTC, datetime

from demo.loading import shop_simulation
from warehouse.sites.registry import Site

END = datetime(2026, 11, 5, 9, tzinfo=UTC)


def site(domains: list[str]) -> Site:
    return Site("mysite", "My site", domains, "Europe/Moscow", "pk_1", END)


def first_url(domains: list[str]) -> str:
    return next(iter(shop_simulation(site(domains), 20, 2, 1, END).events()))["page_url"]


def test_pages_are_on_the_first_domain_of_the_site() -> None:
    assert first_url(["shop.example", "other.example"]).startswith("https://shop.example/")


def test_a_site_without_domains_can_be_simulated() -> None:
    assert first_url([]).startswith("https://mysite.example/")
