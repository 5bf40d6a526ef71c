-- Collect visitors and sessions of a month whose rows retention has deleted, computed as by the trigger on
-- public.events.
create temporary table missing_users on commit drop as
select e.site_id, e.user_id, min(e.created_at) as first_seen_at, max(e.created_at) as last_seen_at, count(*) as event_count
from {month} as e
where
    e.user_id is not null
    and not exists (select from public.users as u where u.site_id = e.site_id and u.user_id = e.user_id)
group by e.site_id, e.user_id;

create temporary table missing_sessions on commit drop as
select distinct on (e.site_id, e.session_id)
    e.site_id,
    e.session_id,
    coalesce(e.user_id, max(e.user_id) over w) as user_id,
    min(e.created_at) over w as started_at,
    max(e.created_at) filter (where e.event_type not in ('page_leave', 'web_vitals')) over w as last_seen_at,
    count(*) over w as event_count,
    e.page_url, e.referrer, e.utm_source, e.utm_medium, e.utm_campaign, e.utm_term, e.utm_content,
    e.device_type, e.browser, e.os,
    bool_or(e.is_bot) over w as is_bot
from {month} as e
where
    e.session_id is not null
    and not exists (select from public.sessions as s where s.site_id = e.site_id and s.session_id = e.session_id)
window w as (partition by e.site_id, e.session_id)
order by e.site_id, e.session_id, e.created_at, e.event_id;

create temporary table missing_shared_sessions on commit drop as
select distinct e.site_id, e.user_id, e.session_id
from {month} as e
inner join missing_sessions as s on e.site_id = s.site_id and e.session_id = s.session_id
where e.user_id <> s.user_id;
