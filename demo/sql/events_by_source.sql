select
    site_id,
    source,
    count(*) as events,
    count(*) filter (where is_bot) as bots,
    to_char(min(created_at), 'YYYY-MM-DD') as first_day,
    to_char(max(created_at), 'YYYY-MM-DD') as last_day
from public.events
group by site_id, source
order by site_id, events desc
