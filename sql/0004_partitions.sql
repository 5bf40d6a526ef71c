-- Monthly partitions of public.events and archive.events.

create table archive.events (
    like public.events including defaults including constraints including comments
) partition by range (created_at);
comment on table archive.events is 'Months that left public.events: same shape, same monthly partitions.';
create unique index events_idempotency on archive.events (created_at, event_id);
create index events_user on archive.events (site_id, user_id);

create table archive.cold_files (
    month date primary key,
    url text not null,
    row_count bigint not null check (row_count >= 0),
    byte_count bigint not null check (byte_count >= 0),
    checksum text not null,
    oldest timestamptz,
    newest timestamptz,
    written_at timestamptz not null default now(),
    verified_at timestamptz,
    dropped_at timestamptz
);
comment on table archive.cold_files is
'Months kept as Parquet outside Postgres, each verified before its table was dropped.';
comment on column archive.cold_files.checksum is
'What ops.checksum gave for the table, and reading the file back as well.';

create table ops.months (
    month date primary key check (extract(day from month) = 1),
    imported_at timestamptz,
    restored_at timestamptz
);
comment on table ops.months is
'When a month was last imported into or restored: its age counts from then, or from its end if that is later.';

create view archive.all_events
with (security_invoker = true)
as
select * from public.events
union all
select * from archive.events;
comment on view archive.all_events is 'Live and archived events together; cold months are in archive.cold_files.';

-- Revokes all direct access to a partition. Policies of the parent do not apply to a query that names a partition, and
-- Supabase's default privileges would let anon read it.
create function ops.close_partition(partition regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    grantee text;
begin
    execute format('alter table %s enable row level security', partition);
    for grantee in
        select distinct case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end
        from pg_class as c
        cross join aclexplode(c.relacl) as a
        left join pg_roles as r on r.oid = a.grantee
        where c.oid = partition and a.grantee <> c.relowner
    loop
        execute format('revoke all on table %s from %s', partition, grantee);
    end loop;
end
$$;

-- Takes ACCESS EXCLUSIVE locks without blocking other sessions for long: every session that asks for a lock queues
-- behind a waiting exclusive lock. So each attempt waits 40 ms for the first table and 10 ms for each further one, then
-- backs off exponentially. SHARE UPDATE EXCLUSIVE is taken first: it blocks no reader or writer and cancels a running
-- autovacuum, which takes longer than 40 ms.
create function ops.lock_briefly(variadic tables regclass[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    one regclass;
    pause double precision := 0.1;
    give_up constant timestamptz := clock_timestamp() + interval '10 minutes';
begin
    perform set_config('lock_timeout', '1min', true);
    foreach one in array tables loop
        execute format('lock table only %s in share update exclusive mode', one);
    end loop;
    loop
        begin
            perform set_config('lock_timeout', '40ms', true);
            foreach one in array tables loop
                execute format('lock table only %s in access exclusive mode', one);
                perform set_config('lock_timeout', '10ms', true);
            end loop;
            return;
        exception when lock_not_available then
            if clock_timestamp() > give_up then
                raise exception using
                    errcode = 'TA002',
                    message = 'A long query or transaction keeps the tables of events busy.',
                    hint = 'Try again when it has ended; pg_stat_activity shows it';
            end if;
            perform pg_sleep(pause * (0.5 + random()));
            pause := least(2 * pause, 5);
        end;
    end loop;
end
$$;
comment on function ops.lock_briefly(regclass[]) is
'ACCESS EXCLUSIVE on these tables; nobody waits longer than 100 ms for it. TA002: no chance within ten minutes.';

-- Creates the partition of one month (UTC) of public.events if it is missing, and moves that month's rows from the
-- default partition into it. Returns true if it created the partition.
create function ops.make_month(month date) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    few constant integer := 5000;
    first_day constant date := date_trunc('month', month);
    name constant text := 'events_' || to_char(first_day, 'YYYY_MM');
    lower_bound constant timestamptz := first_day::timestamp at time zone 'UTC';
    upper_bound constant timestamptz := (first_day + interval '1 month')::timestamp at time zone 'UTC';
    inside bigint;
    outside bigint;
begin
    -- One session at a time. The lock ends with the transaction, so that it works behind a transaction pooler.
    perform pg_advisory_xact_lock(hashtextextended('tilda.make_month', 0));
    if to_regclass(format('public.%I', name)) is not null then
        return false;
    end if;
    if to_regclass(format('archive.%I', name)) is not null
        or exists (select from archive.cold_files as f where f.month = first_day and f.dropped_at is not null) then
        raise exception using
            errcode = 'TA001',
            message = format('Month %s is archived.', to_char(first_day, 'YYYY-MM')),
            hint = format('Bring it back with: tilda restore %s', to_char(first_day, 'YYYY-MM'));
    end if;

    execute format('create table public.%I (like public.events including all)', name);
    select
        count(*) filter (where created_at >= lower_bound and created_at < upper_bound),
        count(*) filter (where not (created_at >= lower_bound and created_at < upper_bound))
    into inside, outside
    from public.events_default;

    if inside > few and inside > outside then
        -- The default partition holds mostly this month's rows, and moving them would block all writers. Attach it as
        -- the month's partition instead; the new table becomes the default partition and takes the other rows.
        perform ops.lock_briefly('public.events', 'public.events_default');
        alter table public.events detach partition public.events_default;
        execute format('alter table public.events_default rename to %I', name || '_waited');
        execute format('alter table public.%I rename to events_default', name);
        execute format('alter table public.%I rename to %I', name || '_waited', name);
        execute format(
            'with moved as (delete from public.%I where created_at < %L or created_at >= %L returning *)
            insert into public.events_default select * from moved', name, lower_bound, upper_bound
        );
        execute format(
            'alter table public.events attach partition public.%I for values from (%L) to (%L)',
            name, lower_bound, upper_bound
        );
        alter table public.events attach partition public.events_default default;
        perform ops.close_partition('public.events_default');
    else
        perform ops.lock_briefly('public.events', 'public.events_default');
        execute format(
            'with moved as (delete from public.events_default where created_at >= %L and created_at < %L returning *)
            insert into public.%I select * from moved', lower_bound, upper_bound, name
        );
        execute format(
            'alter table public.events attach partition public.%I for values from (%L) to (%L)',
            name, lower_bound, upper_bound
        );
    end if;
    perform ops.close_partition(format('public.%I', name)::regclass);
    return true;
end
$$;
comment on function ops.make_month(date) is
'Makes one monthly partition of public.events. Error TA001: the month is archived or cold.';

-- Prepares a month for an import. make_month's lock is held until the transaction ends, so archiving cannot move the
-- month at the same time.
create function ops.open_month(month date) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    made constant boolean := ops.make_month(month);
begin
    insert into ops.months as m (month, imported_at) values (date_trunc('month', open_month.month), now())
    on conflict on constraint months_pkey do update set imported_at = excluded.imported_at;
    return made;
end
$$;
comment on function ops.open_month(date) is
'Makes a month ready for an import and notes that it is imported into. Error TA001: the month is archived or cold.';

create table public.events_default partition of public.events default;
do $$
begin
    perform ops.close_partition('public.events_default'::regclass);
end
$$;

create function ops.wanted_months(months_ahead integer) returns setof date
language sql
set search_path = pg_catalog, pg_temp
as $$
    select m::date
    from generate_series(
        date_trunc('month', now() at time zone 'UTC'),
        date_trunc('month', now() at time zone 'UTC') + make_interval(months => months_ahead),
        interval '1 month'
    ) as m
    union
    select distinct date_trunc('month', created_at at time zone 'UTC')::date from public.events_default
    order by 1
$$;

-- Creates the partitions of the current month, of the next months, and of each month that has rows in events_default.
create function ops.ensure_partitions(months_ahead integer default 3) returns setof date
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    wanted date;
begin
    for wanted in select * from ops.wanted_months(months_ahead) loop
        begin
            if ops.make_month(wanted) then
                return next wanted;
            end if;
        exception when sqlstate 'TA001' then
            -- events of an archived month stay in the default partition; the other months are created all the same
            raise warning '%', sqlerrm using hint = format('tilda restore %s', to_char(wanted, 'YYYY-MM'));
        end;
    end loop;
end
$$;
comment on function ops.ensure_partitions(integer) is
'Makes the current month, the next months_ahead, and each month whose rows wait in events_default; returns what it made.
For pg_cron; `tilda partitions ensure` does the same and commits each month by itself.';

do $$
begin
    perform ops.ensure_partitions();
end
$$;

create table ops.watermarks (
    model text primary key,
    loaded_at timestamptz,
    input_hash text,
    updated_at timestamptz not null default now()
);
comment on table ops.watermarks is
'How far each incremental model has read public.events.loaded_at, and the hash of what is not an event.';
