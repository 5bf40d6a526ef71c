select
    site_id,
    count(*) as sessions,
    count(distinct user_id) as visitors,
    sum(page_views)::bigint as page_views,
    round(100.0 * count(*) filter (where is_bounce) / count(*), 1)::double precision as bounce_percent,
    sum(conversion_count)::bigint as conversions
from marts.sessions
group by site_id
order by site_id
