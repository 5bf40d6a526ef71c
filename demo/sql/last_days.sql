select
    date::text as day,
    visitors::bigint as visitors,
    sessions::bigint as sessions,
    page_views::bigint as page_views,
    conversions::bigint as conversions,
    round(revenue)::bigint as revenue
from marts.daily_totals
where site_id = %s
order by date desc
limit 7
