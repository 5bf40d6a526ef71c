select channel, sum(sessions) as sessions, sum(page_views) as page_views, sum(conversions) as conversions,
    sum(revenue) as revenue
from marts.daily_metrics
where site_id = %(site)s and date between %(first)s and %(last)s
group by channel order by sessions desc
