-- Roles. Supabase ships anon, authenticated and service_role; on other servers this file creates them. Roles belong to
-- the server and not to a database, so restoring a backup runs this file by itself. Passwords of login roles are set by
-- the command line, never by a migration.

do $$
declare
    wanted text[][] := array[
        ['anon', 'nologin'],
        ['authenticated', 'nologin'],
        ['service_role', 'nologin bypassrls'],
        ['analyst', 'nologin'],
        ['tilda_ingest', 'login noinherit'],
        ['tilda_reader', 'login'],
        ['tilda_privacy', 'login']
    ];
begin
    for i in 1 .. array_length(wanted, 1) loop
        if not exists (select from pg_roles where rolname = wanted[i][1]) then
            execute format('create role %I %s', wanted[i][1], wanted[i][2]);
        end if;
    end loop;
end
$$;

grant analyst to tilda_reader;

-- A statement of the public API that exceeds these limits fails, and its rows are retried or spooled.
alter role tilda_ingest set statement_timeout = '15s';
alter role tilda_ingest set lock_timeout = '10s';
alter role tilda_reader set default_transaction_read_only = on;
alter role tilda_reader set statement_timeout = '60s';
