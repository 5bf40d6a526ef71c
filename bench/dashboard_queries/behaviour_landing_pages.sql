select landing_page, count(*) as sessions, avg(is_bounce::int) as bounce_rate, sum(conversion_count) as conversions
from marts.sessions
where site_id = %(site)s and session_date between %(first)s and %(last)s
group by landing_page order by sessions desc limit 100
