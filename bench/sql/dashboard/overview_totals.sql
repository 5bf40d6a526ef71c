select sum(sessions) as sessions, sum(page_views) as page_views, sum(conversions) as conversions, sum(revenue) as revenue,
    sum(bounces)::double precision / nullif(sum(sessions), 0) as bounce_rate
from marts.daily_totals
where site_id = %(site)s and date between %(first)s and %(last)s
