"""The privileges of each role on each table: as decided, and as a server enforces them.

`python -m tests.postgres.security_table` prints them for the embedded Postgres 16 and 18, and for Debian's Postgres 15.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import psycopg

from tests.embedded import migrated_database, running_postgres
from warehouse.kit.database import INGEST_LOGIN, PRIVACY_LOGIN, READER_LOGIN, connect

ROLES = ("anon", "authenticated", "service_role", "analyst", "modeller", INGEST_LOGIN, READER_LOGIN, PRIVACY_LOGIN)
SCHEMAS = ("public", "archive", "ops", "staging", "intermediate", "marts", "ml", "custom")
VERBS = ("select", "insert", "update", "delete", "truncate")
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")

READ = {"select"}
ALL = {"select", "insert", "update", "delete"}
SHOW_AND_ERASE = {"select", "delete"}
NOBODY: dict[str, set[str]] = {}
Rights = dict[str, dict[str, set[str]]]

# Every table must be named here or match a pattern below; test_row_level_security.py fails otherwise.
DECISIONS: Rights = {
    "public.sites": {"authenticated": ALL, "service_role": ALL, "modeller": READ, PRIVACY_LOGIN: READ},
    "public.users": {"anon": {"insert"}, "authenticated": ALL, "service_role": ALL, PRIVACY_LOGIN: SHOW_AND_ERASE},
    "public.sessions": {"anon": {"insert"}, "authenticated": ALL, "service_role": ALL, PRIVACY_LOGIN: ALL},
    "public.events": {
        "anon": {"insert"},
        "authenticated": ALL,
        "service_role": ALL,
        "modeller": READ,
        PRIVACY_LOGIN: SHOW_AND_ERASE,
    },
    "public.event_claims": {"service_role": ALL, PRIVACY_LOGIN: SHOW_AND_ERASE},
    "public.rejected_events": {"service_role": ALL, PRIVACY_LOGIN: SHOW_AND_ERASE},
    "archive.events": {"service_role": ALL, "modeller": READ, PRIVACY_LOGIN: SHOW_AND_ERASE},
    "archive.all_events": {"service_role": ALL, PRIVACY_LOGIN: READ},
    "archive.cold_files": {"service_role": ALL, "modeller": READ, PRIVACY_LOGIN: ALL},
    "archive.files_to_delete": {PRIVACY_LOGIN: ALL},
    "ops.erased_visitors": {PRIVACY_LOGIN: {"select", "insert"}},
    "ops.erasure_key": {PRIVACY_LOGIN: READ},
    "ops.erasures": {PRIVACY_LOGIN: {"select", "insert", "update"}},
    "ops.shared_sessions": {PRIVACY_LOGIN: SHOW_AND_ERASE},
    "ops.rebuild_days": {"modeller": READ, PRIVACY_LOGIN: {"select", "insert"}},
    "ops.visitors_to_rebuild": {"modeller": READ, PRIVACY_LOGIN: {"select", "insert"}},
    "ops.days_to_rebuild": {"modeller": READ},
    "ops.site_settings": {"modeller": READ},
    "ops.refused_origins": NOBODY,
    "ops.daily_salts": NOBODY,
    "ops.watermarks": {"modeller": READ},
    "ops.months": NOBODY,
    "ops.yoyo_lock": NOBODY,
    "ml.model_versions": {
        "analyst": READ,
        "modeller": READ,
        READER_LOGIN: READ,
        "service_role": READ,
        PRIVACY_LOGIN: READ,
    },
    "ml.propensity_scores": {
        "analyst": READ,
        "modeller": READ,
        READER_LOGIN: READ,
        "service_role": READ,
        PRIVACY_LOGIN: SHOW_AND_ERASE,
    },
}
PATTERNS: dict[str, dict[str, set[str]]] = {
    # No role may query a partition by its own name, not even while the partition moves.
    r"(public|archive)\.(events_default|events_\d{4}_\d{2}|restoring_\d{4}_\d{2})": NOBODY,
    r"ops\._yoyo_\w+": NOBODY,
    r"staging\.\w+": NOBODY,
    # the tables behind the views of the marts
    r"intermediate\.fct_\w+|intermediate\.int_persons": {
        "analyst": READ,
        "modeller": READ,
        READER_LOGIN: READ,
        "service_role": READ,
        PRIVACY_LOGIN: SHOW_AND_ERASE,
    },
    # a view that calls functions which only the owner may execute
    r"intermediate\.int_known_sessions": {PRIVACY_LOGIN: {"delete"}},
    r"intermediate\.\w+": {PRIVACY_LOGIN: SHOW_AND_ERASE},
    r"custom\.\w+": {"analyst": READ, READER_LOGIN: READ, "service_role": READ, PRIVACY_LOGIN: SHOW_AND_ERASE},
    r"marts\.\w+": {
        "analyst": READ,
        "modeller": READ,
        READER_LOGIN: READ,
        "service_role": READ,
        PRIVACY_LOGIN: SHOW_AND_ERASE,
    },
}
FUNCTIONS: dict[str, set[str]] = {
    "anon": {"ops.is_erased", "ops.is_recent", "ops.site_exists"},
    "authenticated": {"ops.is_team_member"},
    INGEST_LOGIN: {
        "public.daily_salt",
        "public.land_events",
        "public.land_profiles",
        "public.land_refused_origins",
        "public.list_sites",
        "public.site_for_key",
    },
    READER_LOGIN: set(),
    "analyst": set(),
    "modeller": set(),
    "service_role": {
        "public.land_events",
        "public.land_profiles",
        "public.land_refused_origins",
        "public.list_sites",
        "public.site_for_key",
    },
    PRIVACY_LOGIN: {"ops.describe_sessions", "ops.session_event", "ops.visitor_hash"},
}

_TABLES = """
    select n.nspname || '.' || c.relname
    from pg_class as c
    inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = any(%s) and c.relkind in ('r', 'p', 'v', 'm', 'f')
    order by 1
"""
# EXPLAIN requires the same privileges as the statement, including those of the schema. TRUNCATE and writes to a view of
# two tables cannot be explained, so the catalogue is queried for them.
_MAY = """
create function pg_temp.may(role name, tab text, verb text) returns boolean
language plpgsql as $$
declare
    col constant text := (
        select quote_ident(attname) from pg_attribute
        where attrelid = tab::regclass and attnum > 0 and attidentity = '' and not attisdropped
        -- anon may insert into some columns only
        order by not has_column_privilege(role, attrelid, attnum, 'insert'), attnum limit 1
    );
begin
    if verb = 'truncate' or verb <> 'select' and exists (
        select from pg_class where oid = tab::regclass and relkind = 'v'
    ) then
        return has_table_privilege(role, tab, verb);
    end if;
    perform set_config('role', role, true);
    execute 'explain ' || case verb
        when 'select' then 'select from ' || tab
        when 'insert' then format('insert into %s (%s) values (null)', tab, col)
        when 'update' then format('update %s set %s = null', tab, col)
        when 'delete' then 'delete from ' || tab
    end;
    perform set_config('role', 'none', true);
    return true;
exception when insufficient_privilege then
    return false;
end
$$
"""


def tables(connection: psycopg.Connection) -> list[str]:
    """Return the names of all tables and views, including partitions."""
    return [row[0] for row in connection.execute(_TABLES, [list(SCHEMAS)])]


def expected_rights(names: list[str]) -> Rights:
    """Return the decided privileges of these tables. Tables without a decision are omitted."""
    found: Rights = {}
    for name in names:
        pattern = next((rights for text, rights in PATTERNS.items() if re.fullmatch(text, name)), None)
        rights = DECISIONS.get(name, pattern)
        if rights is not None:
            found[name] = rights
    return found


def actual_rights(connection: psycopg.Connection, names: list[str]) -> Rights:
    """Return the privileges that each role has on these tables. The connection must be a superuser's."""
    connection.execute("drop function if exists pg_temp.may(name, text, text)")
    connection.execute(_MAY.encode())
    rows = connection.execute(
        "select role, tab, verb from unnest(%s::text[]) as role, unnest(%s::text[]) as tab, unnest(%s::text[]) as verb"
        " where pg_temp.may(role, tab, verb)",
        [list(ROLES), names, list(VERBS)],
    ).fetchall()
    found: Rights = {name: {} for name in names}
    for role, name, verb in rows:
        found[name].setdefault(role, set()).add(verb)
    return found


def functions(connection: psycopg.Connection) -> dict[str, set[str]]:
    """Return the functions that each role may execute, whether or not the role may use their schema."""
    rows = connection.execute(
        """
        select r.role, n.nspname || '.' || p.proname
        from pg_proc as p
        inner join pg_namespace as n on n.oid = p.pronamespace
        cross join unnest(%s::text[]) as r (role)
        where n.nspname = any(%s) and has_function_privilege(r.role, p.oid, 'execute')
        """,
        [list(ROLES), list(SCHEMAS)],
    ).fetchall()
    return {role: {name for who, name in rows if who == role} for role in ROLES}


def as_text(connection: psycopg.Connection) -> str:
    """Return one line per table: S, I, U, D, T by role, and `!` if the privileges differ from the decision."""
    names = tables(connection)
    expected, found = expected_rights(names), actual_rights(connection, names)
    lines = [f"{'':32}" + "".join(f"{role:>15}" for role in ROLES)]
    for name in names:
        cells = ["".join(verb[0].upper() for verb in VERBS if verb in found[name].get(role, set())) for role in ROLES]
        lines.append(
            f"{name:32}" + "".join(f"{cell or '-':>15}" for cell in cells) + "  !" * (expected.get(name) != found[name])
        )
    return "\n".join(lines)


def main() -> None:
    """Print the privileges for each Postgres version."""
    for version, folder in ((15, DEBIAN_15), (16, None), (18, None)):
        if folder is not None and not folder.exists():
            print(f"Postgres {version} is not installed: make servers")
            continue
        with tempfile.TemporaryDirectory() as place:
            data = Path(place) / "data"
            with (
                running_postgres(data, 55500, "x", version=version, bin_folder=folder) as server,
                connect(migrated_database(server, "tilda")) as connection,
            ):
                print(f"Postgres {connection.info.server_version // 10_000}\n{as_text(connection)}\n")


if __name__ == "__main__":
    main()
