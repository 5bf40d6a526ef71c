-- Compute sessions again that still have another visitor's live events, as the trigger on public.events does.
insert into public.sessions as s (
    site_id, session_id, user_id, started_at, last_seen_at, event_count, landing_page, referrer,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
)
select distinct on (session_id)
    site_id,
    session_id,
    coalesce(user_id, max(user_id) over w),
    min(created_at) over w,
    max(created_at) filter (where event_type not in ('page_leave', 'web_vitals')) over w,
    count(*) over w,
    page_url, referrer, utm_source, utm_medium, utm_campaign, utm_term, utm_content,
    device_type, browser, os,
    bool_or(is_bot) over w
from public.events
where site_id = %(site)s and session_id = any(%(sessions)s::uuid[])
window w as (partition by session_id)
order by session_id, created_at, event_id
on conflict (site_id, session_id) do update set
    user_id = excluded.user_id, started_at = excluded.started_at, last_seen_at = excluded.last_seen_at,
    event_count = excluded.event_count, landing_page = excluded.landing_page, referrer = excluded.referrer,
    utm_source = excluded.utm_source, utm_medium = excluded.utm_medium, utm_campaign = excluded.utm_campaign,
    utm_term = excluded.utm_term, utm_content = excluded.utm_content, device_type = excluded.device_type,
    browser = excluded.browser, os = excluded.os, is_bot = excluded.is_bot
