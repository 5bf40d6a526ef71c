select funnel_name, step, step_name, entered, reached, rate, median_seconds_to_next, p90_seconds_to_next
from marts.funnel_steps
where site_id = %(site)s
order by funnel_name, step
