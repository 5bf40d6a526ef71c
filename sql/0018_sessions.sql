-- One definition of a row of public.sessions. ops.describe_sessions computes rows from events, for landing, for restored
-- months and after an erasure. ops.merge_sessions combines two rows of one session, for landing and for rows that Supabase
-- clients upsert. marts.sessions has its own definition: dbt splits events into sessions by activity and source, and does
-- not rely on the sender's session_id (dbt_project/macros/sessionise.sql).

-- The columns of an event that ops.describe_sessions reads. It takes an array, because a transition table cannot be an
-- argument. Without payloads, the array of a large session stays small.
create type ops.session_event as (
    created_at timestamptz,
    event_id uuid,
    session_id uuid,
    is_bot boolean,
    site_id text,
    user_id text,
    event_type text,
    page_url text,
    referrer text,
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_term text,
    utm_content text,
    device_type text,
    browser text,
    os text
);

create function ops.session_event(event public.events) returns ops.session_event
language sql
immutable
parallel safe
as $$
    select row(
        event.created_at, event.event_id, event.session_id, event.is_bot, event.site_id, event.user_id,
        event.event_type, event.page_url, event.referrer, event.utm_source, event.utm_medium, event.utm_campaign,
        event.utm_term, event.utm_content, event.device_type, event.browser, event.os
    )::ops.session_event
$$;
comment on function ops.session_event(public.events) is
'The columns of an event that ops.describe_sessions reads. It has no SET clause, so that calls are inlined.';

create function ops.describe_sessions(events ops.session_event[]) returns table (
    site_id text,
    session_id uuid,
    user_id text,
    started_at timestamptz,
    last_seen_at timestamptz,
    event_count bigint,
    landing_page text,
    referrer text,
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_term text,
    utm_content text,
    device_type text,
    browser text,
    os text,
    is_bot boolean
)
language sql
immutable
parallel safe
as $$
    select
        s.site_id, s.session_id, coalesce((s.first).user_id, s.user_id), s.started_at, s.last_seen_at, s.event_count,
        (s.first).page_url, (s.first).referrer, (s.first).utm_source, (s.first).utm_medium, (s.first).utm_campaign,
        (s.first).utm_term, (s.first).utm_content, (s.first).device_type, (s.first).browser, (s.first).os, s.is_bot
    from (
        select
            e.site_id, e.session_id, max(e.user_id) as user_id, min(e.created_at) as started_at,
            max(e.created_at) filter (where e.event_type not in ('page_leave', 'web_vitals')) as last_seen_at,
            count(*) as event_count,
            bool_or(e.is_bot) as is_bot,
            (array_agg(e order by e.created_at, e.event_id))[1] as first
        from unnest(events) as e
        where e.session_id is not null
        group by e.site_id, e.session_id
        offset 0 -- so that the array is built once, not for each column
    ) as s
$$;
comment on function ops.describe_sessions(ops.session_event[]) is
'Rows of public.sessions from events. The earliest event describes its session; of events with one
created_at, the one with the lowest event_id. page_leave and web_vitals do not count as activity (last_seen_at).';

create function ops.merge_sessions(known public.sessions, new public.sessions) returns table (
    user_id text,
    started_at timestamptz,
    last_seen_at timestamptz,
    event_count bigint,
    landing_page text,
    referrer text,
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_term text,
    utm_content text,
    device_type text,
    browser text,
    os text,
    is_bot boolean
)
language sql
immutable
parallel safe
as $$
    select
        coalesce(known.user_id, new.user_id),
        least(known.started_at, new.started_at),
        greatest(known.last_seen_at, new.last_seen_at),
        -- a client could set a count to the largest bigint; an overflow would refuse every batch with the session
        least(known.event_count, 4611686018427387904) + new.event_count,
        coalesce((c.chosen).landing_page, (c.completing).landing_page),
        coalesce((c.chosen).referrer, (c.completing).referrer),
        coalesce((c.chosen).utm_source, (c.completing).utm_source),
        coalesce((c.chosen).utm_medium, (c.completing).utm_medium),
        coalesce((c.chosen).utm_campaign, (c.completing).utm_campaign),
        coalesce((c.chosen).utm_term, (c.completing).utm_term),
        coalesce((c.chosen).utm_content, (c.completing).utm_content),
        coalesce((c.chosen).device_type, (c.completing).device_type),
        coalesce((c.chosen).browser, (c.completing).browser),
        coalesce((c.chosen).os, (c.completing).os),
        known.is_bot or new.is_bot
    from (
        select
            case when b.have_events and new.started_at < known.started_at then new else known end as chosen,
            case when not b.have_events then new end as completing
        from (select known.event_count > 0 and new.event_count > 0 as have_events) as b
        offset 0 -- choose once, not for each column
    ) as c
$$;
comment on function ops.merge_sessions(public.sessions, public.sessions) is
'The columns of a known session after a new row of it. If both rows come from events, the one that started earlier
describes the session. If one comes from a client (no events), the known row is completed where it is empty.';

revoke all on function ops.session_event(public.events), ops.describe_sessions(ops.session_event[]),
ops.merge_sessions(public.sessions, public.sessions) from public, anon, authenticated;
-- an erasure describes sessions again that keep events of another visitor
grant execute on function ops.session_event(public.events), ops.describe_sessions(ops.session_event[]) to tilda_privacy;

create or replace function ops.count_events() returns trigger
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
        event_count = least(u.event_count, 4611686018427387904) + excluded.event_count;

    with described as (
        insert into public.sessions as s (
            site_id, session_id, user_id, started_at, last_seen_at, event_count, landing_page, referrer,
            utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
        )
        select d.*
        from (select array_agg(ops.session_event(row(i.*)::public.events)) as events from inserted as i) as batch
        cross join lateral ops.describe_sessions(batch.events) as d
        order by d.site_id, d.session_id
        on conflict (site_id, session_id) do update set (
            user_id, started_at, last_seen_at, event_count, landing_page, referrer,
            utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
        ) = (select m.* from ops.merge_sessions(s, excluded) as m)
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

create or replace function public.land_profiles(kind text, site text, batch json) returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if kind = 'users' then
        insert into public.users (site_id, user_id, first_seen_at, last_seen_at)
        select
            site,
            p.user_id,
            least(min(ops.sane_time(p.first_seen_at)), max(ops.sane_time(p.last_seen_at))),
            greatest(min(ops.sane_time(p.first_seen_at)), max(ops.sane_time(p.last_seen_at)))
        from json_to_recordset(batch) as p (user_id text, first_seen_at timestamptz, last_seen_at timestamptz)
        where not ops.is_erased(site, p.user_id)
        group by p.user_id
        order by p.user_id
        on conflict do nothing;
    elsif kind = 'sessions' then
        insert into public.sessions as s (
            site_id, session_id, user_id, started_at, last_seen_at, landing_page, referrer,
            utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os
        )
        select distinct on (p.session_id)
            site,
            p.session_id,
            p.user_id,
            least(ops.sane_time(p.started_at), ops.sane_time(p.last_seen_at)),
            greatest(ops.sane_time(p.started_at), ops.sane_time(p.last_seen_at)),
            p.landing_page, p.referrer, p.utm_source, p.utm_medium, p.utm_campaign, p.utm_term, p.utm_content,
            p.device_type, p.browser, p.os
        from json_to_recordset(batch) as p (
            session_id uuid, user_id text, started_at timestamptz, last_seen_at timestamptz,
            landing_page text, referrer text,
            utm_source text, utm_medium text, utm_campaign text, utm_term text, utm_content text,
            device_type text, browser text, os text
        )
        where not ops.is_erased(site, p.user_id)
        order by p.session_id
        -- the times of a known row are those of its events, or of its first upsert
        on conflict (site_id, session_id) do update set (
            user_id, landing_page, referrer,
            utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os
        ) = (
            select
                m.user_id, m.landing_page, m.referrer,
                m.utm_source, m.utm_medium, m.utm_campaign, m.utm_term, m.utm_content, m.device_type, m.browser, m.os
            from ops.merge_sessions(s, excluded) as m
        );
    else
        raise exception 'no profiles of kind %', kind;
    end if;
end
$$;
comment on function public.land_profiles(text, text, json) is
'Inserts sessions or users of a site that a client sends. In a known row, only empty columns are filled.';
