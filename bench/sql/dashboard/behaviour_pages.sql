select page_path, sum(page_views) as views, sum(engaged_seconds) / nullif(sum(page_views), 0) as engaged_seconds,
    sum(scroll_percent_sum) / nullif(sum(scrolled_views), 0) as scroll_percent
from marts.daily_pages
where site_id = %(site)s and date between %(first)s and %(last)s
group by page_path order by views desc limit 100
