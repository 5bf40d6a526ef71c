-- Complete 0012 and 0013: validate the constraints and drop the old key of events. This is a separate transaction, so
-- that writers do not wait for the validation.

-- `tilda migrate` has already built the indexes of the partitions. If the files are run by hand, the indexes are built
-- here, which blocks writers.
do $$
declare
    parent regclass;
    part regclass;
    part_index text;
begin
    for parent, part in
        select k.indrelid, h.inhrelid
        from pg_index as k
        inner join pg_inherits as h on h.inhparent = k.indrelid
        where
            k.indexrelid in ('public.events_key'::regclass, 'archive.events_key'::regclass) and not k.indisvalid
            and not exists (
                select from pg_inherits as attached
                inner join pg_index as i on i.indexrelid = attached.inhrelid
                where attached.inhparent = k.indexrelid and i.indrelid = h.inhrelid
            )
    loop
        part_index := (select relname || '_events_key' from pg_class where oid = part);
        execute format('create unique index %I on %s (site_id, created_at, event_id)', part_index, part);
        execute format(
            'alter index %1$I.events_key attach partition %1$I.%2$I',
            (select relnamespace::regnamespace from pg_class where oid = parent), part_index
        );
    end loop;
end
$$;

-- This lock does not block writers. Autovacuum releases its lock only after a second, so the timeout is long.
set local lock_timeout = '1min';
do $$
begin
    perform ops.truncate_addresses('public.events');
    perform ops.truncate_addresses('archive.events');
end
$$;
alter table public.events validate constraint events_ip_address_is_network;
alter table public.events validate constraint events_click_ids_are_bounded;
alter table public.events validate constraint events_purchase_amount_is_sane;
alter table archive.events validate constraint events_ip_address_is_network;
alter table archive.events validate constraint events_click_ids_are_bounded;
alter table archive.events validate constraint events_purchase_amount_is_sane;

do $$
begin
    perform ops.lock_within(
        array['public.events', 'public.event_claims', 'archive.events']::regclass[]
        || array(
            select inhrelid::regclass from pg_inherits
            where inhparent in ('public.events'::regclass, 'archive.events'::regclass)
            order by inhrelid
        ),
        longest_ms => 1000
    );
end
$$;
drop index public.events_idempotency;
drop index archive.events_idempotency;
drop trigger refuse_claim_without_site on public.event_claims;
drop function ops.refuse_claim_without_site();
