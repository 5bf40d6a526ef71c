-- Moves months between public.events and archive.events without copying rows, and computes the checksums by which files
-- are compared with tables.

create table archive.files_to_delete (
    url text primary key,
    noted_at timestamptz not null default now()
);
comment on table archive.files_to_delete is
'Cold files that are not, or no longer, the one place of their month: noted before one is written and in the transaction
that replaces one, so that a kill leaves no file that nobody knows of. The next run of archiving deletes them.';
alter table archive.files_to_delete enable row level security;
revoke all on archive.files_to_delete from public, anon, authenticated;

-- The bounds of a month as a CHECK constraint: ATTACH does not scan a table with this constraint validated.
create function ops.bound_month(partition regclass, month date) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pg_constraint where conrelid = partition and conname = 'events_lie_in_month') then
        return;
    end if;
    perform ops.lock_briefly(partition);
    execute format(
        'alter table %s add constraint events_lie_in_month check (created_at >= %L and created_at < %L) not valid',
        partition, month::timestamp at time zone 'UTC', (month + interval '1 month')::timestamp at time zone 'UTC'
    );
end
$$;

-- Attaches a table to public.events or archive.events as the partition of a month.
create function ops.attach_month(partition regclass, target text, month date) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    name constant text := 'events_' || to_char(month, 'YYYY_MM');
    lower_bound constant timestamptz := month::timestamp at time zone 'UTC';
    upper_bound constant timestamptz := (month + interval '1 month')::timestamp at time zone 'UTC';
begin
    execute format('alter table %s set schema %I', partition, target);
    if target = 'public' then
        -- events of this month that arrived while it was detached; an event that the month already has is a resend
        execute format(
            'with moved as (delete from public.events_default where created_at >= %L and created_at < %L returning *)
            insert into %s select * from moved on conflict do nothing', lower_bound, upper_bound, partition
        );
    end if;
    execute format(
        'alter table %I.events attach partition %s for values from (%L) to (%L)',
        target, partition, lower_bound, upper_bound
    );
    execute format('alter table %s drop constraint if exists events_lie_in_month', partition);
    perform ops.close_partition(partition);
end
$$;

-- Moves a month from public.events to archive.events (target 'archive') or back ('public'). It takes milliseconds if
-- the CHECK is validated and the target's indexes are built before. Both parents are locked, so that a transaction that
-- reads one after the other finds each event exactly once.
create function ops.move_month(month date, target text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    source constant text := case target when 'archive' then 'public' when 'public' then 'archive' end;
    partition constant regclass := format('%I.%I', source, 'events_' || to_char(month, 'YYYY_MM'))::regclass;
begin
    perform pg_advisory_xact_lock(hashtextextended('tilda.make_month', 0));
    perform ops.lock_briefly('public.events', 'archive.events', 'public.events_default', partition);
    execute format('alter table %I.events detach partition %s', source, partition);
    perform ops.attach_month(partition, target, month);
end
$$;
comment on function ops.move_month(date, text) is
'Moves a month to archive.events (''archive'') or back to public.events (''public'').';

-- Attaches a month to public.events that was loaded from its cold file into a separate table.
create function ops.take_in_month(loaded regclass, month date) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('tilda.make_month', 0));
    perform ops.lock_briefly('public.events', 'public.events_default');
    execute format('alter table %s rename to %I', loaded, 'events_' || to_char(month, 'YYYY_MM'));
    perform ops.attach_month(loaded, 'public', month);
end
$$;

-- The definition of an index without its name and table: equal for an index and its copy on a partition.
create function ops.index_shape(index regclass) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select regexp_replace(pg_get_indexdef(index), '^CREATE (UNIQUE )?INDEX \S+ ON (ONLY )?\S+ USING', '\1USING')
$$;

-- Indexes of a parent that a table lacks. Build them before attaching: ATTACH would build them while it holds its
-- locks.
create function ops.missing_indexes(parent regclass, partition regclass)
returns table (name text, uniqueness boolean, shape text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        left(child.relname || '_' || c.relname, 63), p.indisunique,
        regexp_replace(ops.index_shape(c.oid), '^UNIQUE ', '')
    from pg_index as p
    inner join pg_class as c on c.oid = p.indexrelid
    inner join pg_class as child on child.oid = partition
    where
        p.indrelid = parent
        and not exists (
            select from pg_index as own
            where
                own.indrelid = partition and own.indisvalid
                and ops.index_shape(own.indexrelid) = ops.index_shape(p.indexrelid)
        )
$$;

-- The number of rows and a checksum that depends neither on the order of rows nor on the layout of the table: the sum
-- of 128 bits of the hash of each row's text. warehouse.archive.checksum computes the same value from a file.
create function ops.checksum(partition regclass, columns text[])
returns table (row_count bigint, checksum text, oldest timestamptz, newest timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, MDY'
as $$
begin
    return query execute format(
        $query$
        select
            count(*),
            concat_ws(
                ':', coalesce(sum(('x' || left(hash, 16))::bit(64)::bigint), 0),
                coalesce(sum(('x' || right(hash, 16))::bit(64)::bigint), 0)
            ),
            min(created_at),
            max(created_at)
        from (select created_at, md5(row(%s)::text) as hash from %s) as hashed
        $query$,
        (select string_agg(quote_ident(c), ', ' order by position) from unnest(columns) with ordinality as u (c, position)),
        partition
    );
end
$$;
comment on function ops.checksum(regclass, text[]) is
'Rows of a table, a checksum of these columns, and its first and last created_at.';
