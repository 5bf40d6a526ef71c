-- Insert the visitors and sessions of the stored events, in the order of their first event.
insert into public.users (site_id, user_id, first_seen_at, last_seen_at, event_count)
select site_id, user_id, min(created_at), max(created_at), count(*)
from public.events
group by site_id, user_id
order by min(created_at);

insert into public.sessions (site_id, session_id, user_id, started_at, last_seen_at, event_count, landing_page)
select site_id, session_id, min(user_id), min(created_at), max(created_at), count(*), min(page_url)
from public.events
group by site_id, session_id
order by min(created_at);
