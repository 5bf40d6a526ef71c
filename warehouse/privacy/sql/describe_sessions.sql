-- Compute sessions again that still have another visitor's live events.
insert into public.sessions (
    site_id, session_id, user_id, started_at, last_seen_at, event_count, landing_page, referrer,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
)
select d.*
from (
    select array_agg(ops.session_event(row(e.*)::public.events)) as events
    from public.events as e
    where e.site_id = %(site)s and e.session_id = any(%(sessions)s::uuid[])
    group by e.session_id
) as kept
cross join lateral ops.describe_sessions(kept.events) as d
order by d.session_id
on conflict (site_id, session_id) do update set (
    user_id, started_at, last_seen_at, event_count, landing_page, referrer,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
) = (
    excluded.user_id, excluded.started_at, excluded.last_seen_at, excluded.event_count, excluded.landing_page,
    excluded.referrer, excluded.utm_source, excluded.utm_medium, excluded.utm_campaign, excluded.utm_term,
    excluded.utm_content, excluded.device_type, excluded.browser, excluded.os, excluded.is_bot
)
