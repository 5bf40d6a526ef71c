-- The key of an event becomes (site_id, created_at, event_id), and a claim gets a site, so that sites can use the same
-- event IDs.
--
-- Safe while events arrive. The new unique indexes are created ON ONLY the parents. `tilda migrate` builds the indexes
-- of the partitions concurrently, then 0014 drops the old indexes. Until then, the old key is still enforced.

-- The new table of claims is filled in the schema ops, and then replaces the old table.
create table ops.event_claims (
    site_id text not null,
    event_id uuid not null,
    created_at timestamptz not null,
    primary key (site_id, event_id)
);

do $$
declare
    -- all transactions before this one have ended, so the first pass sees their claims
    horizon constant xid := pg_snapshot_xmin(pg_current_snapshot())::xid;
begin
    -- An erasure deletes claims from the old table only, so it must not run at the same time.
    perform pg_advisory_xact_lock(hashtextextended('tilda.erase', 0));
    -- Join claims and events by index: the second pass must not scan all events under its lock.
    perform set_config('enable_hashjoin', 'off', true);
    perform set_config('enable_mergejoin', 'off', true);
    for pass in 1 .. 2 loop
        if pass = 2 then
            -- Only claims made during the first pass are left. insert_events locks events first: in the other order each
            -- side would hold what the other one waits for, and this attempt would time out again and again.
            perform ops.lock_within(
                array['public.events', 'public.event_claims', 'archive.events']::regclass[], longest_ms => 1000
            );
        end if;
        -- The site of a claim is that of its event. Claims of cold months are dropped: their events are older than
        -- any resend.
        insert into ops.event_claims (site_id, event_id, created_at)
        select e.site_id, c.event_id, c.created_at
        from public.event_claims as c
        inner join archive.all_events as e on e.created_at = c.created_at and e.event_id = c.event_id
        where pass = 1 or age(c.xmin) <= age(horizon)
        on conflict do nothing;
    end loop;
end
$$;

create unique index events_key on only public.events (site_id, created_at, event_id);
create unique index events_key on only archive.events (site_id, created_at, event_id);

drop table public.event_claims;
alter table ops.event_claims set schema public;
comment on table public.event_claims is
'The created_at of each event whose own time was absent, out of bounds or near them, so that a resend gets the same.';
alter table public.event_claims enable row level security;
grant select, insert, update, delete on public.event_claims to service_role;
grant select, delete on public.event_claims to tilda_privacy;
create policy privacy on public.event_claims to tilda_privacy using (true) with check (true);

-- A call of the old insert_events that waited for the lock above still runs the old function and inserts claims without
-- a site. This error makes the caller retry, with the new function. 0014 drops the trigger.
create function ops.refuse_claim_without_site() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'serialization_failure', message = 'The function was replaced while this call waited.';
end
$$;
create trigger refuse_claim_without_site before insert on public.event_claims
for each row when (new.site_id is null) execute function ops.refuse_claim_without_site();

comment on column public.events.created_at is
'The sender''s time within [arrival - 35 days, arrival + 25 hours], else the first arrival. Partition key, and part of
the key of an event, with site_id and event_id.';
comment on column public.events.event_id is
'Made by the sender. One site stores an event_id once for each created_at; an event that is sent again with another
created_at is another row, which the models leave out.';

drop function public.land_events(json);
drop function ops.import_events(json);
drop function ops.insert_events(json, boolean);

-- Insert a batch in one statement and return the keys (site_id, event_id) of new events. An element of the batch is an
-- event (columns of public.events; its time is client_created_at) or, with reject_code, a row for
-- public.rejected_events. If several elements have the same key, the first is stored.
--
-- created_at is part of the key, so it must be the same for each copy of an event. It is the client's time, if that is
-- within [arrival - 35 days, arrival + 25 hours]. Otherwise it is the time of the first arrival, which event_claims
-- stores. If two batches insert the same claim, the second waits for the first to commit, finds no claim in its
-- snapshot and inserts nothing, because the first stored the event in the same transaction. An event that was within
-- the limits and is sent again weeks later, outside the limits, is found by its own key and is a duplicate. Two copies
-- on either side of a limit may be inserted at the same moment without seeing each other, so times near a limit are
-- also claimed.
create function ops.insert_events(batch json, keep_times boolean) returns table (site_id text, event_id uuid)
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    with incoming as materialized (
        select
            e.*,
            greatest(
                least(coalesce(e.arrived_at, now()), now()),
                case when keep_times then '-infinity' else now() - interval '35 days' end
            ) as received_at,
            case
                when e.reject_code is null then e.user_id
                else substring(e.reject_body from '"user_id"\s*:\s*"([^"\\]+)"')
            end as visitor
        from rows from (json_to_recordset(batch) as (
            event_id uuid, session_id uuid, is_bot boolean, site_id text, user_id text, event_type text, source text,
            page_url text, page_host text, page_path text, page_title text, referrer text, referrer_host text,
            utm_source text, utm_medium text, utm_campaign text, utm_term text, utm_content text, click_ids jsonb,
            target_element text, target_text text, device_type text, browser text, os text,
            ip_address inet, user_agent text, payload jsonb,
            client_created_at timestamptz, sent_at timestamptz, arrived_at timestamptz,
            reject_code text, reject_detail text, reject_event_id text, reject_body text
        )) with ordinality as e
    ),

    -- late events of an erased person are dropped
    erased as materialized (
        select visitors.site_id, visitors.visitor
        from (
            select distinct incoming.site_id, incoming.visitor from incoming
            where incoming.visitor is not null and exists (select from ops.erased_visitors)
        ) as visitors
        inner join ops.erased_visitors as known
            on known.visitor_hash = ops.visitor_hash(
                visitors.site_id, visitors.visitor,
                (select k.inner_key from ops.erasure_key as k), (select k.outer_key from ops.erasure_key as k)
            )
    ),

    refused as (
        insert into public.rejected_events (site_id, event_id, code, detail, body, source, received_at)
        select
            i.site_id, i.reject_event_id, i.reject_code, coalesce(i.reject_detail, ''), i.reject_body, i.source,
            i.received_at
        from incoming as i
        where
            i.reject_code is not null
            and not exists (select from erased where erased.site_id = i.site_id and erased.visitor = i.visitor)
        order by i.site_id, i.reject_body, i.ordinality
        on conflict do nothing
    ),

    timed as (
        select
            i.*,
            case
                when keep_times then coalesce(i.client_created_at, i.received_at)
                when i.client_created_at between i.received_at - interval '35 days'
                and i.received_at + interval '25 hours'
                    then i.client_created_at
            end as own_time
        from incoming as i
        where
            i.reject_code is null
            and not exists (select from erased where erased.site_id = i.site_id and erased.visitor = i.visitor)
    ),

    events as (
        select
            t.*,
            not keep_times and coalesce(
                t.own_time not between t.received_at - interval '28 days' and t.received_at + interval '1 hour', true
            ) as needs_claim
        from timed as t
    ),

    claimed as (
        insert into public.event_claims as c (site_id, event_id, created_at)
        select distinct on (e.site_id, e.event_id) e.site_id, e.event_id, coalesce(e.own_time, e.received_at)
        from events as e
        where
            e.needs_claim
            and not exists (
                select from public.events as stored
                where
                    stored.site_id = e.site_id and stored.created_at = e.client_created_at
                    and stored.event_id = e.event_id
            )
            and not exists (
                select from archive.events as stored
                where
                    stored.site_id = e.site_id and stored.created_at = e.client_created_at
                    and stored.event_id = e.event_id
            )
        order by e.site_id, e.event_id, e.ordinality
        on conflict do nothing
        returning c.site_id, c.event_id, c.created_at
    ),

    placed as (
        select e.*, coalesce(
            old_claim.created_at, new_claim.created_at, case when not e.needs_claim then e.own_time end
        ) as created_at
        from events as e
        left join public.event_claims as old_claim
            on old_claim.site_id = e.site_id and old_claim.event_id = e.event_id
        left join claimed as new_claim on new_claim.site_id = e.site_id and new_claim.event_id = e.event_id
    )

    insert into public.events as landed (
        created_at, client_created_at, sent_at, received_at, event_id, session_id, is_bot, site_id, user_id, event_type,
        source, page_url, page_host, page_path, page_title, referrer, referrer_host, utm_source, utm_medium,
        utm_campaign, utm_term, utm_content, click_ids, target_element, target_text, device_type, browser, os,
        ip_address, user_agent, payload
    )
    select
        p.created_at, p.client_created_at, p.sent_at, p.received_at, p.event_id, p.session_id,
        coalesce(p.is_bot, false), p.site_id, p.user_id, p.event_type, p.source, p.page_url, p.page_host, p.page_path,
        p.page_title, p.referrer, p.referrer_host, p.utm_source, p.utm_medium, p.utm_campaign, p.utm_term,
        p.utm_content, p.click_ids, p.target_element, p.target_text, p.device_type, p.browser, p.os, p.ip_address,
        p.user_agent, coalesce(p.payload, '{}')
    from placed as p
    where p.created_at is not null
    -- one order for all writers, or they deadlock; mostly told by the first column, which is quick to compare
    order by p.created_at, p.event_id, p.site_id, p.ordinality
    on conflict do nothing
    returning landed.site_id, landed.event_id
$$;

create function public.land_events(batch json) returns table (site_id text, event_id uuid)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select * from ops.insert_events(batch, false)
$$;
comment on function public.land_events(json) is
'Lands a flush of the ingest API: an array of events, already validated and enriched. Returns the keys that were new.';

create function ops.import_events(batch json) returns table (site_id text, event_id uuid)
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    select * from ops.insert_events(batch, true)
$$;
comment on function ops.import_events(json) is
'Lands a batch of an import: times are kept as they are, however old. The months must exist (ops.make_month).';

revoke all on function ops.insert_events(json, boolean), ops.import_events(json) from public;
revoke all on function public.land_events(json) from public, anon, authenticated;
grant execute on function public.land_events(json) to tilda_ingest, service_role;
