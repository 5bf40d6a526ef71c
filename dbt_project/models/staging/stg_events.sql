with

live as (

    select * from {{ source('public', 'events') }}

),

archived as (

    select * from {{ source('archive', 'events') }}

),

source as (

    select * from live
    union all
    select * from archived

),

timed as (

    select
        *,
        coalesce(case when sent_at is not null then client_created_at end, created_at) as sender_time,
        received_at - sent_at as skew
    from source

),

renamed as (

    select
        ---------- ids
        event_id,
        site_id,
        coalesce(user_id, 'anonymous:' || coalesce(session_id, event_id)) as user_id,
        session_id as client_session_id,
        {{ payload_text('page_view_id') }} as page_view_id,

        ---------- times
        -- A clock that is off by more than a minute is corrected by what it showed when it sent.
        least(
            received_at,
            case when abs(extract(epoch from skew)) > 60 then sender_time + skew else sender_time end
        ) as occurred_at,
        received_at,
        loaded_at,

        ---------- kind
        event_type,
        source,
        is_bot,
        user_id is null as is_anonymous,
        event_type not in ('page_leave', 'web_vitals') and source <> 'webhook' as is_activity,
        -- Events of one millisecond stand in the order in which they can happen.
        case event_type
            when 'page_view' then 0
            when 'add_to_cart' then 2
            when 'form_start' then 3
            when 'form_submit' then 4
            when 'signup' then 5
            when 'purchase' then 6
            when 'page_leave' then 7
            else 1
        end::smallint as event_rank,

        ---------- page
        page_host,
        page_path,
        page_title,

        ---------- where from
        referrer_host,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_term,
        utm_content,
        case when event_type = 'page_view' then
            case
                when payload -> 'click_ids' ? 'gclid' then 'google'
                when payload -> 'click_ids' ? 'yclid' then 'yandex'
                when payload -> 'click_ids' ? 'msclkid' then 'bing'
                when payload -> 'click_ids' ?| array['vkclid', 'rb_clickid'] then 'vk'
            end
        end as click_id_source,

        ---------- device
        device_type,
        browser,
        os,

        ---------- attention
        case when event_type in ('scroll', 'page_leave') then
            {{ payload_number('scroll,scrollPercent', 0, 100) }}
        end::smallint as scroll_percent,
        case when event_type in ('scroll', 'page_leave') then
            {{ payload_number('timing,engagedTime', 0, 86400) }}
        end::numeric(8, 1) as engaged_seconds,
        case when event_type in ('scroll', 'page_leave') then
            {{ payload_number('timing,timeOnPage', 0, 86400) }}
        end::numeric(8, 1) as time_on_page_seconds,

        ---------- form, order and identity
        case when event_type not in ('page_view', 'scroll', 'page_leave', 'click', 'web_vitals') then
            {{ payload_text('form,id') }}
        end as form_id,
        case when event_type not in ('page_view', 'scroll', 'page_leave', 'click', 'web_vitals') then
            -- the browser knows a transaction as "project:transaction", the webhook as "transaction"
            regexp_replace({{ payload_text('form,tranid') }}, '^.*:', '')
        end as transaction_id,
        case when event_type not in ('page_view', 'scroll', 'page_leave', 'click', 'web_vitals') then
            {{ payload_text('order,id') }}
        end as order_id,
        case when event_type not in ('page_view', 'scroll', 'page_leave', 'click', 'web_vitals') then
            {{ payload_number('order,amount', 0, 1000000000000) }}
        end::numeric(18, 2) as order_amount,
        case when event_type not in ('page_view', 'scroll', 'page_leave', 'click', 'web_vitals') then
            upper({{ payload_text('order,currency', 3) }})
        end as order_currency,
        case when event_type not in ('page_view', 'scroll', 'page_leave', 'click', 'web_vitals') then
            {{ payload_text('identity,external_id') }}
        end as external_id,
        case when event_type not in ('page_view', 'scroll', 'page_leave', 'click', 'web_vitals') then
            lower({{ payload_text('identity,email_sha256', 64) }})
        end as email_sha256
    from timed

)

select * from renamed
