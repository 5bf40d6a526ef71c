select referrer_domain, count(*) as sessions, sum(conversion_count) as conversions
from marts.sessions
where site_id = %(site)s and session_date between %(first)s and %(last)s and referrer_domain is not null
group by referrer_domain order by sessions desc limit 100
