{{ config(indexes=[
    {'columns': ['site_id', 'user_id']},
    {'columns': ['site_id', 'session_id']},
]) }}

with

events as (

    select * from {{ ref('stg_events') }}
    where not is_bot

),

sites as (

    select * from {{ ref('stg_sites') }}

),

referrer_exclusions as (

    select * from {{ ref('referrer_exclusions') }}

),

-- The same event can stand under two created_at when its sender changed the time on a resend: the first to arrive counts.
deduplicated as (

    select *
    from (
        select
            events.*,
            row_number() over (
                partition by site_id, event_id order by received_at, occurred_at, user_id, client_session_id
            ) as copy
        from events
    ) as numbered
    where copy = 1

),

{{ external_referrers('deduplicated') }},

prepared as (

    select
        deduplicated.event_id,
        deduplicated.site_id,
        deduplicated.user_id,
        deduplicated.client_session_id,
        deduplicated.page_view_id,
        deduplicated.occurred_at,
        deduplicated.received_at,
        deduplicated.event_type,
        deduplicated.source,
        deduplicated.is_anonymous,
        deduplicated.is_activity,
        deduplicated.event_rank,
        deduplicated.page_host,
        deduplicated.page_path,
        deduplicated.page_title,
        external_referrers.referrer_domain,
        deduplicated.utm_source,
        deduplicated.utm_medium,
        deduplicated.utm_campaign,
        deduplicated.utm_term,
        deduplicated.utm_content,
        deduplicated.click_id_source,
        deduplicated.device_type,
        deduplicated.browser,
        deduplicated.os,
        deduplicated.scroll_percent,
        deduplicated.engaged_seconds,
        deduplicated.time_on_page_seconds,
        deduplicated.form_id,
        deduplicated.transaction_id,
        deduplicated.order_id,
        deduplicated.order_amount,
        deduplicated.order_currency,
        deduplicated.external_id,
        deduplicated.email_sha256
    from deduplicated
    left join external_referrers
        on
            deduplicated.site_id = external_referrers.site_id
            and deduplicated.referrer_host = external_referrers.referrer_host
            and deduplicated.page_host is not distinct from external_referrers.page_host

),

{{ sessionised('prepared') }},

starts as (

    select
        site_id,
        user_id,
        client_session_id,
        session_number,
        occurred_at as session_started_at,
        -- The client's id goes to the first piece of its session; any other is named by visitor and first event, which no
        -- event of another session can change.
        case
            when
                client_session_id is not null and row_number() over (
                    partition by site_id, client_session_id order by occurred_at, event_rank, event_id
                ) = 1
                then client_session_id
            else intermediate.uuid_v5(md5(site_id || chr(31) || user_id)::uuid, event_id::text)
        end as session_id
    from sessionised
    where is_session_start

),

placed as (

    select
        sessionised.*,
        starts.session_id,
        starts.session_started_at
    from sessionised
    left join starts
        on
            sessionised.site_id = starts.site_id
            and sessionised.user_id = starts.user_id
            and sessionised.session_key = coalesce(starts.client_session_id, '00000000-0000-0000-0000-000000000000')
            and sessionised.session_number = starts.session_number

),

-- A webhook knows the visitor but no session: it belongs to the one in which the visitor was active just before.
webhook_sessions as (

    select distinct on (webhooks.site_id, webhooks.event_id)
        webhooks.site_id,
        webhooks.event_id,
        active.session_id,
        active.session_started_at
    from placed as webhooks
    inner join placed as active
        on
            webhooks.site_id = active.site_id
            and webhooks.user_id = active.user_id
            and active.is_activity
            and active.occurred_at between webhooks.occurred_at - interval '30 minutes' and webhooks.occurred_at
    where webhooks.source = 'webhook' and webhooks.client_session_id is null
    order by
        webhooks.site_id, webhooks.event_id, active.occurred_at desc, active.event_rank desc, active.event_id desc

),

final as (

    select
        placed.event_id,
        placed.site_id,
        placed.user_id,
        case
            when placed.source = 'webhook' and placed.client_session_id is null then webhook_sessions.session_id
            else placed.session_id
        end as session_id,
        placed.client_session_id,
        case
            when placed.source = 'webhook' and placed.client_session_id is null
                then webhook_sessions.session_started_at
            else placed.session_started_at
        end as session_started_at,
        placed.session_number,
        placed.is_session_start,
        placed.page_view_sequence,
        placed.page_view_id,
        placed.occurred_at,
        placed.received_at,
        placed.event_type,
        placed.source,
        placed.is_anonymous,
        placed.is_activity,
        placed.event_rank,
        placed.page_host,
        placed.page_path,
        placed.page_title,
        placed.referrer_domain,
        placed.utm_source,
        placed.utm_medium,
        placed.utm_campaign,
        placed.utm_term,
        placed.utm_content,
        placed.click_id_source,
        placed.device_type,
        placed.browser,
        placed.os,
        placed.scroll_percent,
        placed.engaged_seconds,
        placed.time_on_page_seconds,
        placed.form_id,
        placed.transaction_id,
        placed.order_id,
        placed.order_amount,
        placed.order_currency,
        placed.external_id,
        placed.email_sha256
    from placed
    left join webhook_sessions
        on placed.site_id = webhook_sessions.site_id and placed.event_id = webhook_sessions.event_id

)

select * from final
