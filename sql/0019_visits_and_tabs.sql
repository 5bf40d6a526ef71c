-- The columns visit_id and tab_id of events.

-- Adding a nullable column without a default changes the catalogue only. The lock is taken on all partitions at once,
-- because ALTER TABLE of the parent would wait for each of them without a short timeout.
do $$
begin
    -- in the lock order of landing, to avoid deadlocks
    perform ops.lock_within(
        array['public.events', 'archive.events']::regclass[]
        || array(
            select inhrelid::regclass from pg_inherits
            where inhparent in ('public.events'::regclass, 'archive.events'::regclass)
            order by inhrelid
        ),
        longest_ms => 1000
    );
end
$$;

alter table public.events add column visit_id uuid, add column tab_id uuid;
alter table archive.events add column visit_id uuid, add column tab_id uuid;

do $$
declare
    parent regclass;
begin
    foreach parent in array array['public.events', 'archive.events']::regclass[] loop
        execute format(
            $ddl$
            comment on column %1$s.visit_id is
            'The visit as the sender names it: activity of one visitor in all tabs without a break; null if not sent.';
            comment on column %1$s.tab_id is 'The browser tab as the sender names it; null if not sent.'
            $ddl$, parent
        );
    end loop;
end
$$;

create or replace view archive.all_events
with (security_invoker = true)
as
select * from public.events
union all
select * from archive.events;

grant insert (visit_id, tab_id) on public.events to anon;

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
create or replace function ops.insert_events(batch json, keep_times boolean) returns table (site_id text, event_id uuid)
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
            event_id uuid, session_id uuid, visit_id uuid, tab_id uuid, is_bot boolean,
            site_id text, user_id text, event_type text, source text,
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
        created_at, client_created_at, sent_at, received_at, event_id, session_id, visit_id, tab_id, is_bot, site_id,
        user_id, event_type, source, page_url, page_host, page_path, page_title, referrer, referrer_host, utm_source,
        utm_medium, utm_campaign, utm_term, utm_content, click_ids, target_element, target_text, device_type, browser,
        os, ip_address, user_agent, payload
    )
    select
        p.created_at, p.client_created_at, p.sent_at, p.received_at, p.event_id, p.session_id, p.visit_id, p.tab_id,
        coalesce(p.is_bot, false), p.site_id, p.user_id, p.event_type, p.source, p.page_url, p.page_host, p.page_path,
        p.page_title, p.referrer, p.referrer_host, p.utm_source, p.utm_medium, p.utm_campaign, p.utm_term,
        p.utm_content, p.click_ids, p.target_element, p.target_text, p.device_type, p.browser, p.os, p.ip_address,
        p.user_agent, coalesce(p.payload, '{}')
    from placed as p
    where p.created_at is not null
    -- one order for all writers prevents deadlocks; the first column is compared quickly and mostly decides
    order by p.created_at, p.event_id, p.site_id, p.ordinality
    on conflict do nothing
    returning landed.site_id, landed.event_id
$$;
