-- Months of public.events and archive.events.

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
    written_at timestamptz not null default now(),
    verified_at timestamptz,
    dropped_at timestamptz
);
comment on table archive.cold_files is 'Months kept as Parquet outside Postgres, each verified before its table was dropped.';

create view archive.all_events
with (security_invoker = true)
as
select * from public.events
union all
select * from archive.events;
comment on view archive.all_events is 'Live and archived events together; cold months are in archive.cold_files.';

-- Closes a partition to direct reading: policies of the parent do not apply to a query that names a partition, and
-- Supabase's default privileges would leave it open to anon.
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

-- Makes the partition of one month (UTC) under public.events if it is missing; rows of that month that wait in
-- events_default are moved into it. True if it was made.
create function ops.make_month(month date) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    first_day date := date_trunc('month', month);
    name text := 'events_' || to_char(first_day, 'YYYY_MM');
    lower_bound timestamptz := first_day::timestamp at time zone 'UTC';
    upper_bound timestamptz := (first_day + interval '1 month')::timestamp at time zone 'UTC';
begin
    -- One maker at a time; the lock ends with the transaction, so that it works behind a transaction pooler.
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
    execute format(
        'with moved as (delete from public.events_default where created_at >= %L and created_at < %L returning *)
        insert into public.%I select * from moved', lower_bound, upper_bound, name
    );
    execute format(
        'alter table public.events attach partition public.%I for values from (%L) to (%L)',
        name, lower_bound, upper_bound
    );
    perform ops.close_partition(format('public.%I', name)::regclass);
    return true;
end
$$;
comment on function ops.make_month(date) is 'Makes one monthly partition of public.events. Error TA001: the month is archived or cold.';

create table public.events_default partition of public.events default;
do $$
begin
    perform ops.close_partition('public.events_default'::regclass);
end
$$;

-- Keeps the current month and the next ones ready, and gives a month to whatever waits in events_default.
create function ops.ensure_partitions(months_ahead integer default 3) returns setof date
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    wanted date;
begin
    for wanted in
        select m::date
        from generate_series(
            date_trunc('month', now() at time zone 'UTC'),
            date_trunc('month', now() at time zone 'UTC') + make_interval(months => months_ahead),
            interval '1 month'
        ) as m
        union
        select distinct date_trunc('month', created_at at time zone 'UTC')::date from public.events_default
        order by 1
    loop
        begin
            if ops.make_month(wanted) then
                return next wanted;
            end if;
        exception when sqlstate 'TA001' then
            -- a stray event of an archived month stays where it is, and keeps no other month from being made
            raise warning '%', sqlerrm using hint = format('tilda restore %s', to_char(wanted, 'YYYY-MM'));
        end;
    end loop;
end
$$;
comment on function ops.ensure_partitions(integer) is
'Makes the current month, the next months_ahead, and each month whose rows wait in events_default; returns those it made.';

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
comment on table ops.watermarks is 'How far each incremental model has read public.events.loaded_at, and the hash of what is not an event.';
