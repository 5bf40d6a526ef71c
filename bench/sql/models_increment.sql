-- Insert the 2,100 events of one hour: 420 visits of five events, two in five by visitors of the last four weeks. The
-- first `merges` of these known visitors send `identify` instead of a click, each with the e-mail address of another
-- visitor, so that the two visitors are merged.
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

addresses as (
    select distinct on (user_id)
        user_id,
        payload #>> '{identity,email_sha256}' as email_sha256
    from public.events
    where
        event_type = 'form_submit'
        and created_at between %(end)s::timestamptz - interval '28 days' and %(end)s::timestamptz
        and user_id not in (select known.user_id from known)
),

merges as (
    select
        one.user_id,
        other.email_sha256
    from (select *, row_number() over (order by user_id) as number from known) as one
    inner join (
        select *, row_number() over (order by hashtextextended(user_id, %(hour)s)) as number from addresses
    ) as other on one.number = other.number
    where one.number <= %(merges)s
),

visits as (
    select
        known.user_id,
        merges.email_sha256,
        gen_random_uuid() as session_id
    from known
    left join merges on known.user_id = merges.user_id
    union all
    select
        'new ' || %(hour)s || ' ' || number,
        null,
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
    case
        when event = 4 and email_sha256 is not null then 'identify'
        else (array['page_view', 'scroll', 'page_view', 'click', 'page_leave'])[event]
    end,
    'api',
    'https://shop.example/product/1',
    'shop.example',
    '/product/1',
    'Product',
    'mobile',
    'Chrome',
    'Android',
    case
        when event = 4 and email_sha256 is not null
            then jsonb_build_object('identity', jsonb_build_object('email_sha256', email_sha256))
        else (array[
            '{}', '{"scroll": {"scrollPercent": 50}}', '{}', '{"click": {"x": 412, "y": 1733, "button": 0}}',
            '{"timing": {"timeOnPage": 34.2, "engagedTime": 21.7}}'
        ])[event]::jsonb
    end
from visits
cross join generate_series(1, 5) as event
cross join lateral (
    select %(end)s::timestamptz + make_interval(hours => %(hour)s, mins => event * 5, secs => random()) as at
) as moment
