-- The functions that the public API may call, and the statement that lands events.

create function public.site_for_key(key text) returns table (site_id text, domains text[], timezone text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.site_id, s.domains, s.timezone
    from public.sites as s
    where
        s.public_key = key
        -- a webhook need not name the site when there is only one; no public key contains a space
        or (key = 'the only site' and (select count(*) = 1 from public.sites))
$$;
comment on function public.site_for_key(text) is
'The site that a public key names, or that is the only one for "the only site"; no row for an unknown key.';

-- Inserts a batch in one statement and returns the ids that were new. An element of the batch is an event (columns of
-- public.events, with its time in client_created_at) or, if it has a reject_code, a rejected event for
-- public.rejected_events.
--
-- created_at is part of the idempotency key, so a resend must get the same value:
-- * The sender's time within [arrival - 35 days, arrival + 25 hours] is used as it is.
-- * Any other event gets its arrival time once, recorded in event_claims. If two batches race for a claim, the loser waits
--   for the winner's commit, does not see the claim in its snapshot and inserts nothing: the winner stored the event.
-- * An event that was within the bounds when it first came and is outside now (resent weeks later) is found by its key.
-- * Two copies that arrive on either side of a bound at the same moment do not see each other. So events with a time near a
--   bound are claimed as well.
create function ops.insert_events(batch json, keep_times boolean) returns setof uuid
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
        from json_to_recordset(batch) as e (
            event_id uuid, session_id uuid, is_bot boolean, site_id text, user_id text, event_type text, source text,
            page_url text, page_host text, page_path text, page_title text, referrer text, referrer_host text,
            utm_source text, utm_medium text, utm_campaign text, utm_term text, utm_content text,
            target_element text, target_text text, device_type text, browser text, os text,
            ip_address inet, user_agent text, payload jsonb,
            client_created_at timestamptz, sent_at timestamptz, arrived_at timestamptz,
            reject_code text, reject_detail text, reject_event_id text, reject_body text
        )
    ),

    -- late events of erased visitors are dropped
    erased as materialized (
        select visitors.site_id, visitors.visitor
        from (
            select distinct site_id, visitor from incoming
            where visitor is not null and exists (select from ops.erased_visitors)
        ) as visitors
        inner join ops.erased_visitors as known
            on known.visitor_hash = ops.visitor_hash(
                visitors.site_id, visitors.visitor,
                (select k.inner_key from ops.erasure_key as k), (select k.outer_key from ops.erasure_key as k)
            )
    ),

    refused as (
        insert into public.rejected_events (site_id, event_id, code, detail, body, source, received_at)
        select site_id, reject_event_id, reject_code, coalesce(reject_detail, ''), reject_body, source, received_at
        from incoming
        where
            reject_code is not null
            and not exists (
                select from erased where erased.site_id = incoming.site_id and erased.visitor = incoming.visitor
            )
        order by site_id, reject_body
        on conflict do nothing
    ),

    timed as (
        select
            *,
            case
                when keep_times then coalesce(client_created_at, received_at)
                when client_created_at between received_at - interval '35 days' and received_at + interval '25 hours'
                    then client_created_at
            end as own_time
        from incoming
        where
            reject_code is null
            and not exists (
                select from erased where erased.site_id = incoming.site_id and erased.visitor = incoming.visitor
            )
    ),

    events as (
        select
            *,
            not keep_times and coalesce(
                own_time not between received_at - interval '28 days' and received_at + interval '1 hour', true
            ) as needs_claim
        from timed
    ),

    claimed as (
        insert into public.event_claims (event_id, created_at)
        select distinct on (e.event_id) e.event_id, coalesce(e.own_time, e.received_at)
        from events as e
        where
            e.needs_claim
            and not exists (
                select from public.events as stored
                where stored.created_at = e.client_created_at and stored.event_id = e.event_id
            )
            and not exists (
                select from archive.events as stored
                where stored.created_at = e.client_created_at and stored.event_id = e.event_id
            )
        order by e.event_id, e.own_time, e.received_at
        on conflict do nothing
        returning event_id, created_at
    ),

    placed as (
        select e.*, coalesce(
            old_claim.created_at, new_claim.created_at, case when not e.needs_claim then e.own_time end
        ) as created_at
        from events as e
        left join public.event_claims as old_claim on old_claim.event_id = e.event_id
        left join claimed as new_claim on new_claim.event_id = e.event_id
    )

    insert into public.events (
        created_at, client_created_at, sent_at, received_at, event_id, session_id, is_bot, site_id, user_id, event_type,
        source, page_url, page_host, page_path, page_title, referrer, referrer_host, utm_source, utm_medium,
        utm_campaign, utm_term, utm_content, target_element, target_text, device_type, browser, os, ip_address,
        user_agent, payload
    )
    select
        created_at, client_created_at, sent_at, received_at, event_id, session_id, coalesce(is_bot, false), site_id,
        user_id, event_type, source, page_url, page_host, page_path, page_title, referrer, referrer_host, utm_source,
        utm_medium, utm_campaign, utm_term, utm_content, target_element, target_text, device_type, browser, os,
        ip_address, user_agent, coalesce(payload, '{}')
    from placed
    where created_at is not null
    order by created_at, event_id
    on conflict do nothing
    returning event_id
$$;

create function public.land_events(batch json) returns setof uuid
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select ops.insert_events(batch, false)
$$;
comment on function public.land_events(json) is
'Lands a flush of the ingest API: an array of events, already validated and enriched. Returns the ids that were new.';

create function ops.import_events(batch json) returns setof uuid
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    select ops.insert_events(batch, true)
$$;
comment on function ops.import_events(json) is
'Lands a batch of an import: times are kept as they are, however old. The months must exist (ops.make_month).';
