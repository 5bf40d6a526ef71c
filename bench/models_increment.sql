-- An hour's 2,100 events: 420 visits of five events, two in five of them by visitors of the last four weeks.
insert into public.events (
    created_at, client_created_at, sent_at, received_at, loaded_at, event_id, session_id, site_id, user_id, event_type,
    source, page_url, page_host, page_path, page_title, device_type, browser, os, payload
)
with known as (
    select user_id from (
        select distinct user_id from public.events
        where created_at between %(end)s::timestamptz - interval '28 days' and %(end)s::timestamptz
    ) as lately
    order by hashtextextended(user_id, %(hour)s)
    limit 168
),

visits as (
    select
        user_id,
        gen_random_uuid() as session_id
    from known
    union all
    select
        'new ' || %(hour)s || ' ' || number,
        gen_random_uuid()
    from generate_series(1, 252) as number
)

select
    at,
    at,
    at,
    at,
    %(end)s::timestamptz + (%(hour)s + 1) * interval '1 hour',
    gen_random_uuid(),
    session_id,
    'shop',
    user_id,
    (array['page_view', 'scroll', 'page_view', 'click', 'page_leave'])[event],
    'api',
    'https://shop.example/product/1',
    'shop.example',
    '/product/1',
    'Product',
    'mobile',
    'Chrome',
    'Android',
    (array[
        '{}', '{"scroll": {"scrollPercent": 50}}', '{}', '{"click": {"x": 412, "y": 1733, "button": 0}}',
        '{"timing": {"timeOnPage": 34.2, "engagedTime": 21.7}}'
    ])[event]::jsonb
from visits
cross join generate_series(1, 5) as event
cross join lateral (
    select %(end)s::timestamptz + make_interval(hours => %(hour)s, mins => event * 5, secs => random()) as at
) as moment
