"""Score files for people, and audience files for advertising networks."""

import csv
import hashlib
import io
from datetime import UTC, datetime, timedelta

import pandas as pd
import psycopg
import pytest

from tests.postgres.landed import event
from warehouse.events.landing import land
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.propensity import score_files, scores, store
from warehouse.propensity.scores import Wanted
from warehouse.sites.registry import add_site

AS_OF = datetime(2026, 11, 2, tzinfo=UTC)
ALL = Wanted("shop", "conversion_7d")


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def give_scores(connection: psycopg.Connection, target: str = "conversion_7d", **users: float) -> None:
    for as_of, factor in ((AS_OF - timedelta(days=7), 0.5), (AS_OF, 1.0)):
        rows = [
            {
                "site_id": "shop", "user_id": user, "target": target, "as_of": pd.Timestamp(as_of),
                "score": score * factor, "decile": 1, "band": "hot" if score > 0.5 else "cold",
                "reasons": ["more likely: last campaign =1+1"], "model_version": "v1",
            }
            for user, score in users.items()
        ]  # fmt: skip
        store.write_scores(connection, pd.DataFrame(rows))


@pytest.fixture
def connection(database_url: str) -> psycopg.Connection:
    add_site(database_url, "shop", ["shop.example"], "UTC")
    connection = connect(database_url)
    connection.execute(
        "create table marts.conversions (site_id text, goal_id text, user_id text, revenue numeric(18, 2),"
        " currency text, converted_at timestamptz)"
    )
    return connection


def order(connection: psycopg.Connection, user: str, revenue: float, currency: str = "RUB", days: int = 1) -> None:
    connection.execute(
        "insert into marts.conversions values ('shop', 'purchase', %s, %s, %s, %s)",
        [user, revenue, currency, AS_OF - timedelta(days=days)],
    )


def test_the_newest_scores_include_the_expected_order_value(connection: psycopg.Connection) -> None:
    give_scores(connection, new=0.6, loyal=0.2)
    give_scores(connection, "purchase_7d", new=0.1, loyal=0.05)
    for _ in range(3):
        order(connection, "loyal", 3_000)
    for user in "abc":
        order(connection, user, 1_000)
    order(connection, "loyal", 9, currency="EUR")
    order(connection, "loyal", 900_000, days=-1)  # after the scoring
    new, loyal = scores.newest_scores(connection, ALL)
    assert (new.user_id, loyal.user_id, new.as_of) == ("new", "loyal", AS_OF)
    assert new.currency == "RUB"
    assert new.expected_order_value == pytest.approx(2_000)
    assert loyal.expected_order_value == pytest.approx((9_000 + 3 * 2_000) / 6)
    assert new.expected_value == pytest.approx(0.1 * 2_000)
    assert loyal.expected_value == pytest.approx(0.05 * 2_500)


def test_without_orders_the_expected_value_is_null(connection: psycopg.Connection) -> None:
    give_scores(connection, a=0.6, b=0.2)
    assert [one.expected_value for one in scores.newest_scores(connection, ALL)] == [None, None]
    hot = scores.newest_scores(connection, Wanted("shop", "conversion_7d", band="hot"))
    assert [one.user_id for one in hot] == ["a"]
    likely = scores.newest_scores(connection, Wanted("shop", "conversion_7d", min_score=0.3))
    assert [one.user_id for one in likely] == ["a"]


def test_missing_scores_are_reported_with_the_reason(connection: psycopg.Connection) -> None:
    with pytest.raises(UserError, match="There are no scores of conversion_7d for shop"):
        scores.newest_scores(connection, ALL)
    store.record_version(
        connection, site_id="shop", target="conversion_7d", version="none", decision="refused", reason="300 are needed."
    )
    with pytest.raises(UserError, match="300 are needed"):
        scores.audience(connection, ALL, consent="ads")


def test_exported_values_are_not_spreadsheet_formulas(connection: psycopg.Connection) -> None:
    give_scores(connection, **{"=cmd()": 0.3})
    text = io.StringIO()
    assert score_files.write_scores(text, scores.newest_scores(connection, ALL)) == 1
    heading, row = csv.reader(io.StringIO(text.getvalue()))
    found = dict(zip(heading, row, strict=True))
    assert found["user_id"] == "'=cmd()"
    assert found["score"] == "0.3"
    assert found["as_of"] == AS_OF.isoformat()


def send_identify(connection: psycopg.Connection, user: str, payload: dict[str, object]) -> None:
    land(connection, [event(user_id=user, event_type="identify", payload=payload)])


def test_an_audience_contains_only_hashes_of_visitors_who_consented(connection: psycopg.Connection) -> None:
    people = ("agreed", "withdrew", "silent", "raw", "phone", "form", "unscored")
    give_scores(connection, **dict.fromkeys(people[:-1], 0.4))
    for user in people:
        send_identify(connection, user, {"identity": {"email_sha256": sha(f"old-{user}").upper(), "ads": True}})
        send_identify(connection, user, {"identity": {"email_sha256": sha(user)}})
    send_identify(connection, "withdrew", {"identity": {"ads": False}})
    send_identify(connection, "raw", {"identity": {"email_sha256": "raw@shop.example"}})
    send_identify(connection, "phone", {"identity": {"phone_sha256": sha("79991112233")}})
    connection.execute("delete from public.events where user_id in ('silent', 'form')")
    send_identify(connection, "silent", {"identity": {"email_sha256": sha("silent")}})
    send_identify(connection, "form", {"identity": {"email_sha256": sha("form")}, "form": {"fields": {"ads": "yes"}}})
    found = scores.audience(connection, ALL, consent="ads")
    assert {one.email_sha256 for one in found} == {sha(user) for user in ("agreed", "raw", "phone", "form")}
    assert {one.phone_sha256 for one in found} == {None, sha("79991112233")}
    for name, network in score_files.NETWORKS.items():
        text = io.StringIO()
        assert score_files.write_audience(text, found, network) == 4
        lines = text.getvalue().splitlines()
        assert len(lines) == 4 + bool(network.headings)
        assert "@" not in text.getvalue()
        assert sha("agreed") in text.getvalue()
        assert (sha("79991112233") in text.getvalue()) == (name in {"yandex", "meta"})


def test_an_unknown_consent_is_rejected_with_the_existing_ones(connection: psycopg.Connection) -> None:
    give_scores(connection, a=0.6, b=0.4)
    with pytest.raises(UserError, match="no form field listed in data-form-fields holds a yes or no"):
        scores.audience(connection, ALL, consent="ads")
    send_identify(connection, "a", {"identity": {"email_sha256": sha("a"), "ads": True, "visits": 1}})
    send_identify(connection, "b", {"identity": {"external_id": "7", "ads": "no", "visits": 12}})
    send_identify(connection, "b", {"identity": {}, "form": {"fields": {"news": "on", "city": "Tula"}}})
    land(connection, [event(user_id="a", event_type="form_submit", payload={"form": {"fields": ["Email", "news"]}})])
    send_identify(connection, "unscored", {"identity": {"sms": True}})
    with pytest.raises(UserError) as refused:
        scores.audience(connection, ALL, consent="adverts")
    assert refused.value.message == "No scored visitor of shop has answered 'adverts' with yes or no."
    assert refused.value.remedy == "Visitors who answered yes or no, by name: ads 2, news 1."
    # Visitors consented, but none of them left an address: the audience is empty and there is no error.
    assert scores.audience(connection, ALL, consent="news") == []
