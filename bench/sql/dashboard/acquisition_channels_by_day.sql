select date, channel, sum(sessions) as sessions
from marts.daily_metrics
where site_id = %(site)s and date between %(first)s and %(last)s
group by date, channel order by date, channel
