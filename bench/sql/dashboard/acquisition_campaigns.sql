select utm_source, utm_medium, utm_campaign, sum(sessions) as sessions, sum(conversions) as conversions,
    sum(revenue) as revenue
from marts.daily_acquisition
where site_id = %(site)s and date between %(first)s and %(last)s and utm_source <> '(none)'
group by utm_source, utm_medium, utm_campaign order by sessions desc limit 100
