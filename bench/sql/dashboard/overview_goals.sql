select goal_name, count(*) as conversions, sum(value) as value
from marts.conversions
where site_id = %(site)s and conversion_date between %(first)s and %(last)s
group by goal_name order by conversions desc
