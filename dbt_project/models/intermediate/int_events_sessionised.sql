{{ config(
    indexes=[
        {'columns': ['site_id', 'user_id']},
        {'columns': ['site_id', 'session_id']},
    ],
    pre_hook="set local enable_mergejoin = off; -- hashes of short ids beat sorting wide rows"
) }}

with

quarantined_visitors as (

    select * from {{ ref('int_quarantined_visitors') }}

),

events as not materialized (

    select * from {{ ref('stg_events') }} as landed
    where
        not is_bot
        and not exists (
            select from quarantined_visitors
            where
                quarantined_visitors.site_id = landed.site_id
                and quarantined_visitors.user_id = landed.user_id
        )

),

sites as (

    select * from {{ ref('stg_sites') }}

),

referrer_exclusions as (

    select * from {{ ref('referrer_exclusions') }}

),

-- Sessions need few columns of an event. The wide rows are fetched once, at the end.
--
-- An event can stand under two created_at when its sender changed the time on a resend: the first to arrive counts.
deduplicated as materialized (

    select distinct on (event_id, site_id)
        site_id,
        event_id,
        created_at,
        user_id,
        client_session_id,
        occurred_at,
        event_rank,
        event_type,
        source,
        is_activity,
        page_host,
        referrer_host,
        {{ campaign_key() }} as campaign
    from events
    order by event_id, site_id, received_at, created_at

),

{{ external_referrers('deduplicated') }},

prepared as (

    select
        deduplicated.*,
        external_referrers.referrer_domain
    from deduplicated
    left join external_referrers
        on
            deduplicated.site_id = external_referrers.site_id
            and deduplicated.referrer_host = external_referrers.referrer_host
            and coalesce(deduplicated.page_host, '') = coalesce(external_referrers.page_host, '')

),

{{ sessionised('prepared') }},

starts as (

    select
        event_id as session_start_id,
        site_id,
        occurred_at as session_started_at,
        -- The client's id goes to the first piece of its session; any other is named by visitor and first event, which
        -- no event of another session can change.
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

-- A webhook that knows a visitor but no session belongs to the session in which the visitor was active just before.
webhooks as (

    select * from sessionised
    where source = 'webhook' and client_session_id is null

),

webhook_sessions as (

    select distinct on (webhooks.site_id, webhooks.event_id)
        webhooks.site_id,
        webhooks.event_id,
        active.session_start_id
    from webhooks
    inner join sessionised as active
        on
            webhooks.site_id = active.site_id
            and webhooks.user_id = active.user_id
            and active.is_activity
            and active.occurred_at between webhooks.occurred_at - interval '30 minutes' and webhooks.occurred_at
    order by
        webhooks.site_id asc, webhooks.event_id asc,
        active.occurred_at desc, active.event_rank desc, active.event_id desc

),

attached as (

    select
        sessionised.site_id,
        sessionised.event_id,
        sessionised.created_at,
        case
            when sessionised.source <> 'webhook' or sessionised.client_session_id is not null
                then sessionised.session_start_id
            else webhook_sessions.session_start_id
        end as session_start_id,
        sessionised.is_session_start,
        sessionised.page_view_sequence,
        sessionised.referrer_domain
    from sessionised
    left join webhook_sessions
        on sessionised.site_id = webhook_sessions.site_id and sessionised.event_id = webhook_sessions.event_id

),

placed as (

    select
        attached.*,
        starts.session_id,
        starts.session_started_at
    from attached
    left join starts on attached.session_start_id = starts.session_start_id and attached.site_id = starts.site_id

),

final as (

    select
        events.event_id,
        events.site_id,
        events.user_id,
        placed.session_id,
        events.client_session_id,
        placed.session_started_at,
        placed.is_session_start,
        placed.page_view_sequence,
        events.page_view_id,
        events.occurred_at,
        events.received_at,
        events.event_type,
        events.source,
        events.is_anonymous,
        events.is_activity,
        events.event_rank,
        events.page_host,
        events.page_path,
        events.page_title,
        placed.referrer_domain,
        events.utm_source,
        events.utm_medium,
        events.utm_campaign,
        events.utm_term,
        events.utm_content,
        events.click_id_source,
        events.device_type,
        events.browser,
        events.os,
        events.scroll_percent,
        events.engaged_seconds,
        events.time_on_page_seconds,
        events.form_id,
        events.transaction_id,
        events.order_id,
        events.order_amount,
        events.order_currency,
        events.external_id,
        events.email_sha256
    from events
    inner join placed
        on
            events.event_id = placed.event_id
            and events.created_at = placed.created_at
            and events.site_id = placed.site_id

)

select * from final
