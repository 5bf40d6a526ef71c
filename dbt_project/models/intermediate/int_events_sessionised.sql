{{ config(unique_key=['event_id', 'created_at', 'site_id'], indexes=[
    {'columns': ['site_id', 'user_id']},
    {'columns': ['event_id']},
]) }}

{%- set columns = [
    'event_id', 'site_id', 'user_id', 'client_session_id', 'page_view_id', 'occurred_at', 'received_at',
    'created_at', 'event_type', 'source', 'is_anonymous', 'is_activity', 'event_rank', 'page_host', 'page_path',
    'page_title', 'referrer_host', 'utm_source', 'utm_medium', 'utm_campaign', 'utm_term', 'utm_content',
    'click_id_source', 'device_type', 'browser', 'os', 'scroll_percent', 'engaged_seconds', 'time_on_page_seconds',
    'form_id', 'transaction_id', 'order_id', 'order_amount', 'order_currency', 'external_id', 'email_sha256',
] %}

with

-- Events of an affected visitor that this model has are read from itself: it keeps every copy of every event.
events as {{ '' if is_partial() else 'not ' }}materialized (

    select {{ columns | join(', ') }}
    from {{ ref('stg_events') }}
    where not is_bot and {{ of_affected_visitors() }} {% if is_partial() %}
        and {{ is_newly_loaded() }}
        and not exists (
            select from {{ this }} as stored
            where
                stored.event_id = stg_events.event_id
                and stored.created_at = stg_events.created_at
                and stored.site_id = stg_events.site_id
        )
    union all
    select {{ columns | join(', ') }}
    from {{ this }}
    where {{ of_affected_visitors() }} {% endif %}
    {{ kept_cold_events(columns) }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

referrer_exclusions as (

    select * from {{ ref('referrer_exclusions') }}

),

-- Sessions need few columns of an event. The wide rows are fetched once, at the end.
copies as materialized (

    select
        site_id,
        event_id,
        created_at,
        received_at,
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

),

crowded as (

    select
        site_id,
        user_id
    from copies
    group by site_id, user_id
    having count(*) > {{ var('visitor_event_bound') }}

),

orderly as not materialized (

    select * from copies
    where
        not exists (
            select from crowded
            where crowded.site_id = copies.site_id and crowded.user_id = copies.user_id
        )

),

repeated as (

    select
        site_id,
        event_id,
        count(*)::integer as copy_count
    from orderly
    group by site_id, event_id
    having count(*) > 1

),

-- A site stores an event once for each created_at, so an event whose sender changed the time on a resend is stored
-- twice: the first copy to arrive counts.
numbered as materialized (

    select
        orderly.site_id,
        orderly.event_id,
        orderly.created_at,
        repeated.copy_count,
        row_number() over (
            partition by orderly.event_id, orderly.site_id order by orderly.received_at, orderly.created_at
        ) as copy_number
    from orderly
    inner join repeated on orderly.site_id = repeated.site_id and orderly.event_id = repeated.event_id

),

deduplicated as (

    select * from orderly
    where
        not exists (
            select from numbered
            where
                numbered.site_id = orderly.site_id
                and numbered.event_id = orderly.event_id
                and numbered.created_at = orderly.created_at
                and numbered.copy_number > 1
        )

),

{{ external_referrers('copies') }},

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

{{ sessionised('prepared', keep=[
    'site_id', 'event_id', 'created_at', 'user_id', 'client_session_id', 'source', 'occurred_at', 'event_rank',
    'is_activity', 'referrer_domain',
]) }},

-- A webhook that knows a visitor but no session belongs to the session in which the visitor was active just before.
webhooks as (

    select * from sessionised
    where source = 'webhook' and client_session_id is null

),

webhook_sessions as materialized (

    select distinct on (webhooks.site_id, webhooks.event_id)
        webhooks.site_id,
        webhooks.event_id,
        active.session_start_id,
        active.session_started_at
    from webhooks
    inner join sessionised as active
        on
            webhooks.site_id = active.site_id
            and webhooks.user_id = active.user_id
            and active.is_activity
            and active.occurred_at between webhooks.occurred_at - interval '30 minutes' and webhooks.occurred_at
            and (active.occurred_at, active.event_rank, active.event_id)
            < (webhooks.occurred_at, webhooks.event_rank, webhooks.event_id)
    order by
        webhooks.site_id asc, webhooks.event_id asc,
        active.occurred_at desc, active.event_rank desc, active.event_id desc

),

attached as not materialized (

    select
        sessionised.site_id,
        sessionised.event_id,
        sessionised.created_at,
        sessionised.occurred_at,
        sessionised.is_activity,
        sessionised.is_session_start,
        sessionised.page_view_sequence,
        sessionised.referrer_domain,
        case
            when sessionised.source = 'webhook' and sessionised.client_session_id is null
                then webhook_sessions.session_start_id
            else sessionised.session_start_id
        end as belongs_to,
        case
            when sessionised.source = 'webhook' and sessionised.client_session_id is null
                then webhook_sessions.session_started_at
            else sessionised.session_started_at
        end as session_started_at
    from sessionised
    left join webhook_sessions
        on sessionised.site_id = webhook_sessions.site_id and sessionised.event_id = webhook_sessions.event_id

),

-- Nobody is at work for so long without half an hour's rest.
endless as (

    select distinct
        site_id,
        belongs_to
    from attached
    where is_activity and occurred_at > session_started_at + interval '{{ var("session_hours_bound") }} hours'

),

beginnings as (

    select
        site_id,
        user_id,
        event_id,
        client_session_id,
        event_rank,
        session_started_at
    from sessionised
    where is_session_start

),

starts as (

    select
        event_id as session_start_id,
        site_id,
        -- The client's id goes to the first piece of its session; any other is named by visitor and first event, which
        -- no event of another session can change.
        case
            when
                client_session_id is not null and row_number() over (
                    partition by site_id, client_session_id order by session_started_at, event_rank, event_id
                ) = 1
                then client_session_id
            else {{ function_schema() }}.uuid_v5(md5(site_id || chr(31) || user_id)::uuid, event_id::text)
        end as session_id
    from beginnings
    where
        not exists (
            select from endless
            where endless.site_id = beginnings.site_id and endless.belongs_to = beginnings.event_id
        )

),

placed as (

    select
        attached.site_id,
        attached.event_id,
        attached.created_at,
        attached.belongs_to,
        attached.is_session_start,
        attached.page_view_sequence,
        attached.referrer_domain,
        attached.session_started_at,
        starts.session_id,
        attached.belongs_to is not null and starts.session_id is null as is_endless
    from attached
    left join starts on attached.belongs_to = starts.session_start_id and attached.site_id = starts.site_id

),

final as (

    select
        events.*,
        placed.session_id,
        placed.belongs_to as session_start_id,
        placed.session_started_at,
        coalesce(placed.is_session_start, false) as is_session_start,
        placed.page_view_sequence,
        placed.referrer_domain,
        case
            when crowded.user_id is not null then 'visitor'
            when placed.is_endless then 'session'
        end as quarantine,
        placed.event_id is not null and not placed.is_endless as is_counted,
        numbered.copy_count
    from events
    left join placed
        on
            events.event_id = placed.event_id
            and events.created_at = placed.created_at
            and events.site_id = placed.site_id
    left join crowded on events.site_id = crowded.site_id and events.user_id = crowded.user_id
    left join numbered
        on
            events.event_id = numbered.event_id
            and events.created_at = numbered.created_at
            and events.site_id = numbered.site_id

)

select * from final
