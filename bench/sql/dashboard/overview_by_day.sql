select date, visitors, new_visitors, sessions, page_views, bounce_rate, conversions, revenue
from marts.daily_totals
where site_id = %(site)s and date between %(first)s and %(last)s
order by date
