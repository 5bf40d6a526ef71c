{%- set reports_attention = "event_type in ('scroll', 'page_leave')" -%}
{%- set has_outcome = "event_type not in ('page_view', 'scroll', 'page_leave', 'click', 'web_vitals')" -%}
{%- set is_outcome = "event_type in ('identify', 'form_submit', 'signup', 'purchase', 'refund')" %}

with

live as (

    select * from {{ source('public', 'events') }}

),

archived as (

    select * from {{ source('archive', 'events') }}

),

click_ids as (

    select * from {{ ref('click_ids') }}

),

source as (

    select * from live
    union all
    select * from archived

),

timed as (

    select
        *,
        -- rows that landed before there was the column have what the collector read
        coalesce(click_ids, payload -> 'click_ids') as known_click_ids,
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
        created_at,

        ---------- kind
        event_type,
        source,
        is_bot,
        user_id is null as is_anonymous,
        coalesce({{ is_cookieless('user_id') }}, false) as is_cookieless,
        event_type not in ('page_leave', 'web_vitals', 'form_abandon', 'refund') and source <> 'webhook'
        and (session_id is not null or not {{ is_outcome }}) as is_activity,
        -- sent by a server, which has no session: belongs to the visitor's latest session
        session_id is null and (source = 'webhook' or {{ is_outcome }}) as is_detached,
        -- orders events with the same time in milliseconds as they can follow each other in a visit
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
        case when event_type = 'page_view' then page_title end as page_title,

        ---------- where from
        referrer_host,
        -- rows of clients that insert directly, and of earlier versions, may have longer values
        left(utm_source, 200) as utm_source,
        left(utm_medium, 200) as utm_medium,
        left(utm_campaign, 200) as utm_campaign,
        left(utm_term, 200) as utm_term,
        left(utm_content, 200) as utm_content,
        -- a campaign's link is opened by a page view; paid click IDs come first
        case
            when event_type = 'page_view' and known_click_ids is not null
                then (
                    select click_ids.parameter
                    from click_ids
                    where timed.known_click_ids ? click_ids.parameter
                    order by click_ids.priority
                    limit 1
                )
        end as click_id,

        ---------- device
        device_type,
        browser,
        os,

        ---------- attention
        {{ payload_number('scroll,scrollPercent', 0, 100, only=reports_attention) }}::smallint as scroll_percent,
        {{ payload_number('timing,engagedTime', 0, 86400, only=reports_attention) }}::numeric(8, 1) as engaged_seconds,
        {{ payload_number('timing,timeOnPage', 0, 86400, only=reports_attention) }}::numeric(8, 1)
            as time_on_page_seconds,

        ---------- form, order and identity
        {{ payload_text('form,id', only=has_outcome) }} as form_id,
        -- the browser knows a transaction as "project:transaction", the webhook as "transaction"
        -- Tilda sends 0 for "none"
        nullif(nullif(regexp_replace({{ payload_text('form,tranid', only=has_outcome) }}, '^.*:', ''), ''), '0')
            as transaction_id,
        nullif({{ payload_text('order,id', only=has_outcome) }}, '0') as order_id,
        {{ payload_number('order,amount', 0, 1000000000000, only=has_outcome) }}::numeric(18, 2) as order_amount,
        upper({{ payload_text('order,currency', 3, only=has_outcome) }}) as order_currency,
        lower({{ payload_text('order,status', 20, only=has_outcome) }}) as order_status,
        case
            when {{ has_outcome }} and jsonb_typeof(payload #> '{order,items}') = 'array'
                then jsonb_array_length(payload #> '{order,items}')
        end::smallint as order_item_count,
        {{ payload_text('identity,external_id', only=has_outcome) }} as external_id,
        lower({{ payload_text('identity,email_sha256', 64, only=has_outcome) }}) as email_sha256
    from timed

)

select * from renamed
