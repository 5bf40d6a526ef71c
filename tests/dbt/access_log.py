"""An independent computation of the sessions of an access log, in pandas.

It does not use the models, the database or the import. It deliberately shares with the platform only the list of file
extensions, the detection of crawlers, the visitor IDs and event IDs, and the dbt seeds.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID, uuid5

import pandas as pd
import psycopg

from tests.dbt.dbt_project import PROJECT
from tests.dbt.oracle.channels import Origin, channel
from warehouse.events.access_log import STATIC_EXTENSIONS
from warehouse.events.ids import uuid_of
from warehouse.events.user_agents import parse_user_agent

LINE = r'^(\S+) .*?\[(.*?)\] "(\S+) (\S+)[^"]*" (\d+) \S+ "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)'
UTM = ["utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"]
IDLE = pd.Timedelta(minutes=30)


@cache
def _seed(name: str) -> pd.DataFrame:
    return pd.read_csv(PROJECT / "seeds" / f"{name}.csv", keep_default_na=False)


def _unescaped(text: str) -> str:
    r"""Decode Apache's escapes: \" for a quote and \xhh for a byte that is not ASCII."""
    if "\\" not in text:
        return text
    return text.encode().decode("unicode_escape").encode("latin-1").decode(errors="replace")


def _host(url: str) -> str | None:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return host.removeprefix("www.") if host else None


def _texts(values: Iterable[str | None]) -> pd.Series:
    """Return a series of texts with None, not NaN, for missing values."""
    return pd.Series([value or None for value in values], dtype=object)


def _under(host: str, domains: list[str]) -> bool:
    return any(f".{host}".endswith(f".{domain}") for domain in domains)


def read_page_views(path: Path, site: str, domains: list[str], hash_key: str) -> pd.DataFrame:
    """Return the page views of a log in Apache's combined format in order of time, without bots."""
    text = path.read_bytes()
    raw = pd.Series((gzip.decompress(text) if path.suffix == ".gz" else text).splitlines())
    log = raw.str.decode("utf-8", "replace").str.extract(LINE)
    log.columns = pd.Index(["address", "at", "method", "target", "status", "referrer", "agent"])
    log["raw"] = raw
    extension = log["target"].str.extract(r"^[^?#]*\.([^./?#]+)(?:[?#]|$)")[0].str.lower()
    log = log[log["status"].isin(["200", "203", "304"]) & (log["method"] == "GET") & ~extension.isin(STATIC_EXTENSIONS)]
    log = log.reset_index(drop=True)

    # Equal lines are different requests, so the event ID contains the line's number among its equals (0, 1, …).
    copies = log.groupby("raw").cumcount()
    views = pd.DataFrame(
        {
            "site_id": site,
            "event_id": [
                uuid_of("line", site, str(copy).encode(), line) for line, copy in zip(log["raw"], copies, strict=True)
            ],
            "at": pd.to_datetime(log["at"], format="%d/%b/%Y:%H:%M:%S %z", utc=True),
            "path": [unquote(urlsplit(target).path) or "/" for target in log["target"].map(_unescaped)],
        }
    )
    campaigns = [dict(reversed(parse_qsl(urlsplit(target).query))) for target in log["target"].map(_unescaped)]
    for name in UTM:
        views[name] = _texts(campaign.get(name, "").strip() for campaign in campaigns)

    agents = ["" if agent == "-" else agent for agent in log["agent"].map(_unescaped)]
    names = ["\0".join((site, address, agent)) for address, agent in zip(log["address"], agents, strict=True)]
    views["user_id"] = [hmac.digest(hash_key.encode(), name.encode(), "sha256").hex()[:32] for name in names]
    parsed_agents = [parse_user_agent(agent) for agent in agents]
    for name in ("device_type", "browser", "os"):
        views[name] = [getattr(agent, name) or "unknown" for agent in parsed_agents]

    own = [*domains, *_seed("referrer_exclusions")["domain"]]
    hosts = [_host(_unescaped(referrer)) for referrer in log["referrer"]]
    views["referrer_domain"] = _texts(None if not host or _under(host, own) else host for host in hosts)
    is_bot = [agent.is_bot or not named for agent, named in zip(parsed_agents, agents, strict=True)]
    return views[~pd.Series(is_bot, index=views.index)].sort_values(["at", "event_id"], kind="stable")


def _number_sessions(history: pd.DataFrame) -> pd.Series:
    """Number one visitor's sessions. 30 idle minutes, a new campaign or a new external referrer end a session."""
    numbers: list[int] = []
    number, campaign, referrer, last = 0, None, None, None
    for view in history.itertuples():
        values = tuple(getattr(view, name) for name in UTM)
        named = values if any(values) else None
        other_source = (named and named != campaign) or (view.referrer_domain and view.referrer_domain != referrer)
        if last is None or view.at - last > IDLE or other_source:
            number, campaign, referrer = number + 1, named, view.referrer_domain
        last = view.at
        numbers.append(number)
    return pd.Series(numbers, index=history.index)


def recompute_sessions(views: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """Return the expected rows of `marts.sessions` with every column, indexed by `session_id`."""
    views = views.assign(
        number=views.groupby("user_id", group_keys=False)[views.columns.tolist()].apply(_number_sessions)
    )
    by_session = views.groupby(["user_id", "number"], sort=False)
    # head(1) keeps the complete first row; GroupBy.first() would skip its missing values
    first = by_session.head(1).set_index(["user_id", "number"])
    sessions = first.drop(columns=["at", "path"]).assign(
        started_at=first["at"],
        ended_at=by_session["at"].max(),
        event_count=by_session.size(),
        page_views=by_session.size(),
        landing_page=first["path"],
        exit_page=by_session.tail(1).set_index(["user_id", "number"])["path"],
    )
    sessions = sessions.reset_index().drop(columns="number")
    # A log has no session IDs, so the ID is derived from the visitor and the first event.
    sessions["session_id"] = [
        uuid5(UUID(hashlib.md5(f"{row.site_id}\x1f{row.user_id}".encode()).hexdigest()), str(row.event_id))
        for row in sessions.itertuples()
    ]
    sessions = sessions.drop(columns="event_id").sort_values(["started_at", "session_id"])
    sessions["duration_seconds"] = (sessions["ended_at"] - sessions["started_at"]).dt.total_seconds()
    sessions["is_new_visitor"] = ~sessions.duplicated("user_id")
    sessions["is_bounce"] = sessions["page_views"] < 2
    sessions["channel"] = [
        channel(Origin(row.utm_source, row.utm_medium, row.utm_campaign, row.referrer_domain))
        for row in sessions.itertuples()
    ]
    sessions["session_date"] = sessions["started_at"].dt.tz_convert(timezone).dt.date
    # A log contains no engaged time, no conversions and no identifiers that join visitors.
    sessions = sessions.assign(
        client_session_id=None, person_id=sessions["user_id"], engaged_seconds=0, conversion_count=0, revenue=0,
        # A log has no tabs, so every session is a visit with a source of its own.
        visit_id=sessions["session_id"], is_visit_start=True, is_source_inherited=False, is_anonymous=False,
    )  # fmt: skip
    return sessions.set_index("session_id").sort_index()


def modelled_sessions(connection: psycopg.Connection, site: str) -> pd.DataFrame:
    """Return the rows of a site in `marts.sessions`, indexed by `session_id`."""
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        cursor.execute("select * from marts.sessions where site_id = %s", [site])
        assert cursor.description
        rows = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description], dtype=object)
    return rows.set_index("session_id").sort_index()


def differing(modelled: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that differ in any column or exist on one side only."""
    assert set(modelled.columns) == set(expected.columns)
    both = modelled.index.intersection(expected.index)
    left, right = (frame.loc[both, modelled.columns].astype(object) for frame in (modelled, expected))
    same = (left == right) | (left.isna() & right.isna())
    one_sided = modelled.index.symmetric_difference(expected.index)
    return pd.concat(
        [
            left[~same.all(axis=1)].assign(side="modelled"),
            right[~same.all(axis=1)].assign(side="expected"),
            modelled.loc[modelled.index.intersection(one_sided)].assign(side="modelled only"),
            expected.loc[expected.index.intersection(one_sided)].assign(side="expected only"),
        ]
    )
