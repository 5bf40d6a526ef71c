select cohort_start, periods_later, visitors, retention_rate, revenue
from marts.retention_cohorts
where site_id = %(site)s and period = 'month' and cohort_start between %(first)s and %(last)s
order by cohort_start, periods_later
