select device_type, sum(sessions) as sessions, sum(conversions) as conversions, sum(revenue) as revenue
from marts.daily_metrics
where site_id = %(site)s and date between %(first)s and %(last)s
group by device_type order by sessions desc
