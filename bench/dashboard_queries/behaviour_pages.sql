select page_path, count(*) as views, avg(engaged_seconds) as engaged_seconds, avg(max_scroll_percent) as scroll_percent
from marts.page_views
where site_id = %(site)s and view_date between %(first)s and %(last)s
group by page_path order by views desc limit 100
