select session_id, user_id, started_at, channel, landing_page, page_views, revenue
from marts.sessions
where site_id = %(site)s and session_date between %(first)s and %(last)s
order by session_date desc, started_at desc limit 50
