select funnel_name, channel, step, sum(reached) as reached
from marts.funnel_daily
where site_id = %(site)s and entry_date between %(first)s and %(last)s
group by funnel_name, channel, step order by funnel_name, channel, step
