select utm_source, utm_medium, utm_campaign, count(*) as sessions, sum(conversion_count) as conversions,
    sum(revenue) as revenue
from marts.sessions
where site_id = %(site)s and session_date between %(first)s and %(last)s and utm_source is not null
group by utm_source, utm_medium, utm_campaign order by sessions desc limit 100
