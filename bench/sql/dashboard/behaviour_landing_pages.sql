select page_path, sum(entrances) as sessions, sum(bounces) / nullif(sum(entrances), 0) as bounce_rate,
    sum(entrance_conversions) as conversions
from marts.daily_pages
where site_id = %(site)s and date between %(first)s and %(last)s
group by page_path order by sessions desc limit 100
