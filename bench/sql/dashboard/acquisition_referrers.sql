select referrer_domain, sum(sessions) as sessions, sum(conversions) as conversions
from marts.daily_acquisition
where site_id = %(site)s and date between %(first)s and %(last)s and referrer_domain <> '(none)'
group by referrer_domain order by sessions desc limit 100
