select cohort_start, periods_later, visitors, retention_rate
from marts.retention_cohorts
where site_id = %(site)s and period = 'week' and cohort_start between %(first)s and %(last)s
order by cohort_start, periods_later
