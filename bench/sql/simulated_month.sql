-- Insert the events of one month of a busy site into the month's partition: ten events per session, three sessions per
-- visitor. Parameters: month, rows.
with numbered as (
    select
        n,
        n / 10 as session_number,
        n / 30 as visitor_number,
        (%(month)s::date::timestamp at time zone 'UTC')
        + (n::double precision / %(rows)s) * (
            (%(month)s::date + interval '1 month')::timestamp - %(month)s::date::timestamp - interval '1 second'
        )
        + make_interval(secs => random() * 0.9) as happened_at,
        (hashint4(n) & 2147483647) %% 100 as dice,
        (hashint4(n + 7) & 2147483647) %% 400 as page
    from generate_series(0, %(rows)s - 1) as n
),

typed as (
    select
        *,
        case
            when n %% 10 = 0 or dice < 35 then 'page_view'
            when dice < 60 then 'click'
            when dice < 75 then 'scroll'
            when dice < 92 then 'page_leave'
            when dice < 96 then 'add_to_cart'
            when dice < 98 then 'form_submit'
            else 'purchase'
        end as event_type
    from numbered
)

insert into {table} (
    created_at, client_created_at, sent_at, received_at, loaded_at, event_id, session_id, site_id, user_id, event_type,
    source, page_url, page_host, page_path, page_title, referrer, referrer_host, utm_source, utm_medium, utm_campaign,
    target_element, target_text, device_type, browser, os, ip_address, user_agent, payload
)
select
    date_trunc('milliseconds', happened_at),
    date_trunc('milliseconds', happened_at),
    date_trunc('milliseconds', happened_at) + interval '1.5 seconds',
    happened_at + interval '1.6 seconds',
    happened_at + interval '1.7 seconds',
    gen_random_uuid(),
    md5(%(month)s::text || 's' || session_number)::uuid,
    'shop',
    md5('v' || visitor_number),
    event_type,
    'api',
    'https://shop.example/catalogue/page-' || page || case when dice < 20 then '?utm_source=yandex&utm_medium=cpc' else '' end,
    'shop.example',
    '/catalogue/page-' || page,
    'Catalogue, page ' || page || ' — "Shop"',
    case when n %% 10 = 0 and dice < 60 then 'https://www.google.com/' end,
    case when n %% 10 = 0 and dice < 60 then 'google.com' end,
    case when dice < 20 then 'yandex' end,
    case when dice < 20 then 'cpc' end,
    case when dice < 20 then 'autumn-' || page %% 12 end,
    case when event_type = 'click' then 'a.t-btn#rec' || page end,
    case when event_type = 'click' then 'Add, "to" cart \ ' || page %% 30 end,
    (array['desktop', 'mobile', 'tablet'])[1 + visitor_number %% 3],
    (array['Chrome', 'Safari', 'Firefox', 'Yandex Browser'])[1 + visitor_number %% 4],
    (array['Windows', 'iOS', 'Android', 'macOS'])[1 + visitor_number %% 4],
    ('10.' || visitor_number %% 250 || '.' || visitor_number / 250 %% 250 || '.0/24')::inet,
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1'
    || visitor_number %% 40 || '.0.0.0 Safari/537.36',
    case event_type
        when 'click' then jsonb_build_object('click', jsonb_build_object('x', dice * 11, 'y', page * 7, 'button', 0))
        when 'scroll' then jsonb_build_object('scroll', jsonb_build_object('scrollPercent', dice))
        when 'page_leave' then jsonb_build_object(
            'timing', jsonb_build_object('timeOnPage', page / 3.0, 'engagedTime', dice),
            'scroll', jsonb_build_object('scrollPercent', dice)
        )
        when 'form_submit' then jsonb_build_object('form', jsonb_build_object('id', 'form' || page %% 5))
        when 'purchase' then jsonb_build_object(
            'order', jsonb_build_object('id', md5(n::text), 'amount', page * 10, 'currency', 'RUB')
        )
        else '{{}}'
    end || jsonb_build_object('page_view_id', md5((session_number * 100 + n %% 4)::text)::uuid)
from typed
order by 1
