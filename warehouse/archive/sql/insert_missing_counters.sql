-- Insert the rows of collect_missing_counters.sql in key order, as the trigger on public.events does, to avoid deadlocks.
insert into public.users (site_id, user_id, first_seen_at, last_seen_at, event_count)
select site_id, user_id, first_seen_at, last_seen_at, event_count from missing_users order by 1, 2
on conflict do nothing;

insert into public.sessions (
    site_id, session_id, user_id, started_at, last_seen_at, event_count, landing_page, referrer,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
)
select
    site_id, session_id, user_id, started_at, last_seen_at, event_count, landing_page, referrer,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
from missing_sessions
order by 1, 2
on conflict do nothing;

insert into ops.shared_sessions (site_id, user_id, session_id)
select site_id, user_id, session_id from missing_shared_sessions order by 1, 2, 3
on conflict do nothing;
