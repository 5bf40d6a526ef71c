-- One row an event. Columns of fixed width come first, which avoids alignment padding between columns.
create sequence public.events_id_seq;

create table public.events (
    id bigint not null default nextval('public.events_id_seq'), -- an identity column would block ATTACH
    created_at timestamptz not null default now(),
    client_created_at timestamptz,
    sent_at timestamptz,
    received_at timestamptz not null default now(),
    loaded_at timestamptz not null default now(),
    event_id uuid not null default gen_random_uuid(),
    session_id uuid,
    is_bot boolean not null default false,
    site_id text not null,
    user_id text,
    event_type text not null,
    source text not null default 'direct',
    page_url text,
    page_host text,
    page_path text,
    page_title text,
    referrer text,
    referrer_host text,
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_term text,
    utm_content text,
    target_element text,
    target_text text,
    device_type text,
    browser text,
    os text,
    ip_address inet,
    user_agent text,
    payload jsonb not null default '{}',

    constraint events_event_type_is_named check (length(event_type) between 1 and 64),
    constraint events_user_id_is_bounded check (length(user_id) between 1 and 128),
    constraint events_text_is_bounded check (
        coalesce(length(page_url), 0) <= 4096 and coalesce(length(referrer), 0) <= 4096
        and coalesce(length(page_title), 0) <= 1024 and coalesce(length(user_agent), 0) <= 1024
        and coalesce(length(target_element), 0) <= 1024 and coalesce(length(target_text), 0) <= 1024
    ),
    constraint events_times_are_sane check ((
        created_at >= '1900-01-01T00:00:00Z' and created_at < '2200-01-01T00:00:00Z'
        and coalesce(client_created_at >= '1900-01-01T00:00:00Z' and client_created_at < '2200-01-01T00:00:00Z', true)
        and coalesce(sent_at >= '1900-01-01T00:00:00Z' and sent_at < '2200-01-01T00:00:00Z', true)
    ) is true),
    constraint events_payload_is_object check ((jsonb_typeof(payload) = 'object') is true),
    constraint events_payload_is_bounded check (pg_column_size(payload) <= 262144),
    -- A CHECK that evaluates to NULL passes, so each one ends in IS TRUE. None casts text: bad data must violate the
    -- check and not raise a cast error.
    constraint events_click_has_position check ((
        event_type <> 'click' or (
            case
                when jsonb_typeof(payload #> '{click,x}') = 'number'
                    then (payload #> '{click,x}')::numeric between -10000000 and 10000000
            end
            and case
                when jsonb_typeof(payload #> '{click,y}') = 'number'
                    then (payload #> '{click,y}')::numeric between -10000000 and 10000000
            end
        )
    ) is true),
    constraint events_scroll_has_percent check ((
        event_type <> 'scroll' or case
            when jsonb_typeof(payload #> '{scroll,scrollPercent}') = 'number' then
                (payload #> '{scroll,scrollPercent}')::numeric between 0 and 100
                and (payload #> '{scroll,scrollPercent}')::numeric % 1 = 0
        end
    ) is true),
    constraint events_page_leave_has_time check ((
        event_type <> 'page_leave' or case
            when jsonb_typeof(payload #> '{timing,timeOnPage}') = 'number' then
                (payload #> '{timing,timeOnPage}')::numeric between 0 and 31536000
        end
    ) is true),
    constraint events_form_has_form check ((
        event_type not in ('form_start', 'form_abandon', 'form_submit', 'form_error')
        or jsonb_typeof(payload -> 'form') = 'object'
    ) is true),
    constraint events_purchase_has_amount check ((
        event_type <> 'purchase' or case
            when jsonb_typeof(payload #> '{order,amount}') = 'number' then
                (payload #> '{order,amount}')::numeric between 0 and 1000000000000
        end
    ) is true),
    constraint events_identify_has_identity check ((
        event_type <> 'identify' or jsonb_typeof(payload -> 'identity') = 'object'
    ) is true)
) partition by range (created_at);

comment on table public.events is 'One row an event, partitioned by month of created_at (UTC).';
comment on column public.events.created_at is
'The sender''s time within [arrival - 35 days, arrival + 25 hours], else the first arrival. Partition key, and with
event_id the idempotency key.';
comment on column public.events.client_created_at is 'The sender''s time as it was sent.';
comment on column public.events.sent_at is
'The sender''s clock at the moment of sending; received_at - sent_at is its skew.';
comment on column public.events.received_at is
'When a collector took the event; for an import without one: created_at.';
comment on column public.events.loaded_at is 'When the row entered this table: what incremental models watch.';
comment on column public.events.source is
'Path into the platform: api, supabase, pixel, webhook, access-log, import, direct.';
comment on column public.events.ip_address is 'Network of the address (/24 or /48), never the whole address.';
comment on column public.events.page_host is 'Host of page_url, lower case, without www.';
comment on column public.events.page_path is 'Path of page_url without query and fragment.';

create unique index events_idempotency on public.events (created_at, event_id);
create index events_session on public.events (session_id, created_at);
create index events_conversions on public.events (site_id, created_at)
where event_type in ('form_submit', 'signup', 'purchase');
create index events_payload on public.events using gin (payload jsonb_path_ops);
create index events_scroll_depth on public.events (site_id, ((payload #> '{scroll,scrollPercent}')::int))
where event_type = 'scroll';
create index events_without_session on public.events (site_id, user_id) where session_id is null;
create index events_loaded_at on public.events using brin (loaded_at);

create table public.event_claims (
    event_id uuid primary key,
    created_at timestamptz not null
);
comment on table public.event_claims is
'The created_at of each event whose own time was absent, out of bounds or near them, so that a resend gets the same.';

create table ops.erased_visitors (
    visitor_hash bytea primary key,
    erased_at timestamptz not null default now()
);
comment on table ops.erased_visitors is
'A keyed hash of site and visitor id of everyone who was erased: what comes late from them is dropped on landing.';

create table ops.erasure_key (
    only_one boolean primary key default true check (only_one),
    inner_key bytea not null,
    outer_key bytea not null
);
comment on table ops.erasure_key is
'The two keys of the nested hash in ops.erased_visitors (NMAC; HMAC makes both of one). Each fills a block of SHA-256.';
insert into ops.erasure_key (inner_key, outer_key)
select
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) as inner_key,
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) as outer_key;

create function ops.visitor_hash(site_id text, user_id text, inner_key bytea, outer_key bytea) returns bytea
language sql
stable
parallel safe
as $$
    select sha256(outer_key || sha256(inner_key || convert_to(site_id || chr(31) || user_id, 'UTF8')))
$$;
comment on function ops.visitor_hash(text, text, bytea, bytea) is
'The name of a visitor in ops.erased_visitors. The key is passed, so that calls are inlined.';

-- public.sessions names only the first visitor of a session. Other visitor ids that appeared in it are listed here.
create table ops.shared_sessions (
    site_id text not null,
    user_id text not null,
    session_id uuid not null,
    primary key (site_id, user_id, session_id)
);
comment on table ops.shared_sessions is
'Sessions with events of a visitor other than the one in public.sessions: events have no index by visitor.';

create table public.rejected_events (
    id bigint generated always as identity primary key,
    site_id text not null,
    event_id text,
    code text not null,
    detail text not null,
    body text,
    source text not null,
    received_at timestamptz not null default now()
);
comment on table public.rejected_events is 'Events that were refused, each with its reason: nothing is lost silently.';
comment on column public.rejected_events.body is 'The event as it came, shortened to 16,384 characters, NUL escaped.';
create index rejected_events_site on public.rejected_events (site_id, received_at);
-- Importing a file again rejects the same lines again; this index keeps each of them once.
create unique index rejected_events_of_imports on public.rejected_events (site_id, hashtextextended(body, 0))
where source in ('access-log', 'import');

-- Keeps the counters of visitors and sessions with one upsert for each statement, not for each row. Users are locked
-- before sessions, and both in the order of their keys: batches in other orders that share sessions deadlock. Rows that
-- are inserted into a partition directly (drained, restored) do not fire the trigger and are not counted twice.
create function ops.count_events() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.users as u (site_id, user_id, first_seen_at, last_seen_at, event_count)
    select
        site_id, user_id, min(created_at), max(created_at), count(*)
    from inserted
    where user_id is not null
    group by site_id, user_id
    order by site_id, user_id
    on conflict (site_id, user_id) do update set
        first_seen_at = least(u.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(u.last_seen_at, excluded.last_seen_at),
        event_count = u.event_count + excluded.event_count;

    -- The earliest event describes its session, in any order of arrival. Values that a client upserted before the first
    -- event are kept.
    with described as (
        insert into public.sessions as s (
            site_id, session_id, user_id, started_at, last_seen_at, event_count, landing_page, referrer,
            utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
        )
        select distinct on (site_id, session_id)
            site_id,
            session_id,
            coalesce(user_id, max(user_id) over w),
            min(created_at) over w,
            max(created_at) filter (where event_type not in ('page_leave', 'web_vitals')) over w,
            count(*) over w,
            page_url, referrer, utm_source, utm_medium, utm_campaign, utm_term, utm_content,
            device_type, browser, os,
            bool_or(is_bot) over w
        from inserted
        where session_id is not null
        window w as (partition by site_id, session_id)
        order by site_id, session_id, created_at, event_id
        on conflict (site_id, session_id) do update set
            landing_page = case
                when s.event_count = 0 then coalesce(s.landing_page, excluded.landing_page)
                when excluded.started_at < s.started_at then excluded.landing_page else s.landing_page
            end,
            referrer = case
                when s.event_count = 0 then coalesce(s.referrer, excluded.referrer)
                when excluded.started_at < s.started_at then excluded.referrer else s.referrer
            end,
            utm_source = case
                when s.event_count = 0 then coalesce(s.utm_source, excluded.utm_source)
                when excluded.started_at < s.started_at then excluded.utm_source else s.utm_source
            end,
            utm_medium = case
                when s.event_count = 0 then coalesce(s.utm_medium, excluded.utm_medium)
                when excluded.started_at < s.started_at then excluded.utm_medium else s.utm_medium
            end,
            utm_campaign = case
                when s.event_count = 0 then coalesce(s.utm_campaign, excluded.utm_campaign)
                when excluded.started_at < s.started_at then excluded.utm_campaign else s.utm_campaign
            end,
            utm_term = case
                when s.event_count = 0 then coalesce(s.utm_term, excluded.utm_term)
                when excluded.started_at < s.started_at then excluded.utm_term else s.utm_term
            end,
            utm_content = case
                when s.event_count = 0 then coalesce(s.utm_content, excluded.utm_content)
                when excluded.started_at < s.started_at then excluded.utm_content else s.utm_content
            end,
            device_type = case
                when s.event_count = 0 then coalesce(s.device_type, excluded.device_type)
                when excluded.started_at < s.started_at then excluded.device_type else s.device_type
            end,
            browser = case
                when s.event_count = 0 then coalesce(s.browser, excluded.browser)
                when excluded.started_at < s.started_at then excluded.browser else s.browser
            end,
            os = case
                when s.event_count = 0 then coalesce(s.os, excluded.os)
                when excluded.started_at < s.started_at then excluded.os else s.os
            end,
            user_id = coalesce(s.user_id, excluded.user_id),
            started_at = least(s.started_at, excluded.started_at),
            last_seen_at = greatest(s.last_seen_at, excluded.last_seen_at),
            event_count = s.event_count + excluded.event_count,
            is_bot = s.is_bot or excluded.is_bot
        returning site_id, session_id, user_id
    )

    insert into ops.shared_sessions (site_id, user_id, session_id)
    select distinct i.site_id, i.user_id, i.session_id
    from inserted as i
    inner join described as d on i.site_id = d.site_id and i.session_id = d.session_id
    where i.user_id <> d.user_id
    order by 1, 2, 3
    on conflict do nothing;
    return null;
end
$$;

create trigger events_count_inserted after insert on public.events
referencing new table as inserted
for each statement execute function ops.count_events();
