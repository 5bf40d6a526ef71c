-- Insert the events of visitors %(first)s to %(last)s: each has up to five visits within four weeks of the first, with
-- 15 events per visitor on average. Events after the end of the period are left out. All rows have the same loaded_at,
-- which is before the increments.
insert into public.events (
    created_at, client_created_at, sent_at, received_at, loaded_at, event_id, session_id, site_id, user_id, event_type,
    source, page_url, page_host, page_path, page_title, referrer_host, utm_source, utm_medium, utm_campaign,
    device_type, browser, os, user_agent, payload
)
with visitors as (
    select
        number,
        %(start)s::timestamptz + make_interval(secs => random() * %(days)s * 86400) as first_at,
        1 + floor(random() * 5)::int as visits,
        random() as device
    from generate_series(%(first)s::bigint, %(last)s::bigint) as number
),

visits as (
    select
        v.*,
        visit,
        gen_random_uuid() as session_id,
        v.first_at + (visit - 1) * make_interval(secs => random() * 6 * 86400) + make_interval(secs => random()) as at,
        3 + floor(random() * 5)::int as events,
        random() as came,
        random() as wants
    from visitors as v
    cross join generate_series(1, v.visits) as visit
),

events as (
    select
        v.*,
        event,
        v.at + make_interval(secs => event * 60 + random() * 50) as created_at,
        case
            when event in (1, 3) then 'page_view'
            when event = 2 then 'scroll'
            when event = v.events then 'page_leave'
            when event = 4 then 'click'
            when event = 5 then 'add_to_cart'
            when v.wants < 0.15 then 'purchase'
            when v.wants < 0.3 then 'form_submit'
            else 'form_start'
        end as event_type,
        gen_random_uuid() as event_id,
        '/product/' || floor(power(random(), 3) * 300)::int as path
    from visits as v
    cross join generate_series(1, v.events) as event
)

select
    created_at,
    created_at,
    created_at,
    created_at,
    %(loaded_at)s::timestamptz,
    event_id,
    session_id,
    'shop',
    'v' || number,
    event_type,
    'api',
    'https://shop.example' || path,
    'shop.example',
    path,
    'Product',
    case when event = 1 and came < 0.3 then (array['ya.ru', 'vk.com', 'example.org'])[1 + floor(came * 10)::int] end,
    case when event = 1 and came > 0.7 then (array['yandex', 'mail', 'vk'])[1 + floor((came - 0.7) * 10)::int] end,
    case when event = 1 and came > 0.7 then (array['cpc', 'email', 'social'])[1 + floor((came - 0.7) * 10)::int] end,
    case when event = 1 and came > 0.7 then 'campaign ' || floor(came * 40)::int end,
    case when device < 0.6 then 'mobile' else 'desktop' end,
    case when device < 0.3 then 'Safari' else 'Chrome' end,
    case when device < 0.6 then 'Android' else 'Windows' end,
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
    case event_type
        when 'click' then '{"click": {"x": 412, "y": 1733, "button": 0}}'::jsonb
        when 'scroll' then '{"scroll": {"scrollPercent": 50}, "timing": {"engagedTime": 7.5}}'
        when 'page_leave'
            then '{"timing": {"timeOnPage": 34.2, "engagedTime": 21.7}, "scroll": {"scrollPercent": 75}}'
        when 'purchase' then jsonb_build_object('order', jsonb_build_object(
            'id', event_id, 'amount', floor(random() * 9000), 'currency', 'RUB'
        ))
        when 'form_submit' then jsonb_build_object(
            'form', jsonb_build_object('id', 'form1'),
            -- every fiftieth visitor has the e-mail address of the previous visitor, as the same person with a second browser
            'identity', jsonb_build_object('email_sha256', md5((number - (number %% 50 = 0)::int)::text))
        )
        when 'form_start' then '{"form": {"id": "form1"}}'
        else '{}'
    end
from events
where created_at < %(start)s::timestamptz + make_interval(days => %(days)s)
order by created_at
