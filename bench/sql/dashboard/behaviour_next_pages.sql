select next_page, count(*) as times
from marts.page_views
where site_id = %(site)s and view_date between greatest(%(first)s, %(last)s::date - 30) and %(last)s
    and left(page_path, 200) = left('/product/0', 200) and page_path = '/product/0'
group by next_page order by times desc limit 20
