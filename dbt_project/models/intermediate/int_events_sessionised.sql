{{ config(unique_key=['event_id', 'created_at', 'site_id'], indexes=[
    {'columns': ['site_id', 'user_id', 'occurred_at']},
    {'columns': ['event_id']},
]) }}

{%- set columns = [
    'event_id', 'site_id', 'user_id', 'client_session_id', 'page_view_id', 'occurred_at', 'received_at',
    'created_at', 'event_type', 'source', 'is_anonymous', 'is_activity', 'is_detached', 'event_rank', 'page_host', 'page_path',
    'page_title', 'referrer_host', 'utm_source', 'utm_medium', 'utm_campaign', 'utm_term', 'utm_content',
    'click_id', 'device_type', 'browser', 'os', 'scroll_percent', 'engaged_seconds', 'time_on_page_seconds',
    'form_id', 'transaction_id', 'order_id', 'order_amount', 'order_currency', 'order_status',
    'order_item_count', 'external_id', 'email_sha256',
] %}

with

-- New events of the affected visitors, and the stored events of the time to recompute. This model keeps every copy of
-- every event, because a copy that does not count may count after another copy arrives late.
events as {{ '' if is_partial() else 'not ' }}materialized (

    select {{ columns | join(', ') }}
    from {{ ref('stg_events') }}
    where not is_bot and {{ of_affected_visitors(with_changed_events=true) }} {% if is_partial() %}
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
    from {{ this }} as stored
    where {{ in_scope('stored') }} {% endif %}
    {{ kept_cold_events(columns) }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

referrer_exclusions as (

    select * from {{ ref('referrer_exclusions') }}

),

-- The session rules need few columns. The wide rows are joined at the end.
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
        is_activity,
        -- rows of months that are only files may be older than the column
        coalesce(is_detached, source = 'webhook' and client_session_id is null) as is_detached,
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

uncrowded as not materialized (

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
    from uncrowded
    group by site_id, event_id
    having count(*) > 1

),

-- A site stores one copy of an event for each created_at, and a sender may change that time on a resend: the first copy
-- to arrive counts.
numbered as materialized (

    select
        uncrowded.site_id,
        uncrowded.event_id,
        uncrowded.created_at,
        repeated.copy_count,
        row_number() over (
            partition by uncrowded.event_id, uncrowded.site_id order by uncrowded.received_at, uncrowded.created_at
        ) as copy_number
    from uncrowded
    inner join repeated on uncrowded.site_id = repeated.site_id and uncrowded.event_id = repeated.event_id

),

deduplicated as (

    select * from uncrowded
    where
        not exists (
            select from numbered
            where
                numbered.site_id = uncrowded.site_id
                and numbered.event_id = uncrowded.event_id
                and numbered.created_at = uncrowded.created_at
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
    'site_id', 'event_id', 'created_at', 'user_id', 'client_session_id', 'occurred_at', 'event_rank', 'is_activity',
    'is_detached', 'referrer_domain',
]) }},

-- An event that a server sent belongs to the session in which the visitor was active last.
detached as (

    select * from sessionised
    where is_detached

),

sessions_before_detached as materialized (

    select distinct on (detached.site_id, detached.event_id)
        detached.site_id,
        detached.event_id,
        active.session_start_id,
        active.session_started_at
    from detached
    inner join sessionised as active
        on
            detached.site_id = active.site_id
            and detached.user_id = active.user_id
            and active.is_activity
            and active.occurred_at
            between detached.occurred_at - interval '{{ var("attribution_days") }} days' and detached.occurred_at
            and (active.occurred_at, active.event_rank, active.event_id)
            < (detached.occurred_at, detached.event_rank, detached.event_id)
    order by
        detached.site_id asc, detached.event_id asc,
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
            when sessionised.is_detached then sessions_before_detached.session_start_id
            else sessionised.session_start_id
        end as session_start_id,
        case
            when sessionised.is_detached then sessions_before_detached.session_started_at
            else sessionised.session_started_at
        end as session_started_at
    from sessionised
    left join sessions_before_detached
        on
            sessionised.site_id = sessions_before_detached.site_id
            and sessionised.event_id = sessions_before_detached.event_id

),

-- No person is active for so long without a break of 30 minutes.
endless as (

    select distinct
        site_id,
        session_start_id
    from attached
    where is_activity and occurred_at > session_started_at + interval '{{ var("session_hours_bound") }} hours'

),

starts as (

    select
        site_id,
        user_id,
        event_id as session_start_id,
        client_session_id,
        event_rank,
        session_started_at
    from sessionised
    where
        is_session_start
        and not exists (
            select from endless
            where endless.site_id = sessionised.site_id and endless.session_start_id = sessionised.event_id
        )

),
{% if is_partial() %}
-- Session starts whose client session ID an earlier session already has; this build does not recompute that session.
later_starts as (

    select distinct
        starts.site_id,
        starts.session_start_id
    from starts
    inner join {{ as_last_built('int_session_starts') }} as known
        on
            starts.site_id = known.site_id
            and starts.client_session_id = known.client_session_id
            and (starts.session_started_at, starts.event_rank, starts.session_start_id)
            > (known.started_at, known.event_rank, known.event_id)
    where not {{ in_scope('known', 'started_at') }}

),
{% endif %}
-- The client's ID belongs to the first session of a client session. Any other session is named after its visitor and
-- first event, which no event of another session can change.
named_sessions as (

    select
        starts.site_id,
        starts.session_start_id,
        case
            when
                starts.client_session_id is not null
                {%- if is_partial() %}
                and later_starts.session_start_id is null
                {%- endif %}
                and row_number() over (
                    partition by starts.site_id, starts.client_session_id
                    order by starts.session_started_at, starts.event_rank, starts.session_start_id
                ) = 1
                then starts.client_session_id
            else {{ function_schema() }}.uuid_v5(
                md5(starts.site_id || chr(31) || starts.user_id)::uuid, starts.session_start_id::text
            )
        end as session_id
    from starts
    {%- if is_partial() %}
    left join later_starts
        on starts.site_id = later_starts.site_id and starts.session_start_id = later_starts.session_start_id
    {%- endif %}

),

placed as (

    select
        attached.site_id,
        attached.event_id,
        attached.created_at,
        attached.is_session_start,
        attached.page_view_sequence,
        attached.referrer_domain,
        attached.session_started_at,
        named_sessions.session_id,
        attached.session_start_id is not null and named_sessions.session_id is null as is_endless
    from attached
    left join named_sessions
        on
            attached.session_start_id = named_sessions.session_start_id
            and attached.site_id = named_sessions.site_id

),

final as (

    select
        events.*,
        placed.session_id,
        coalesce(placed.is_session_start, false) as is_session_start,
        placed.page_view_sequence,
        placed.referrer_domain,
        case
            when crowded.user_id is not null then 'visitor'
            when placed.is_endless then 'session'
        end as quarantine,
        case when placed.is_endless then placed.session_started_at end as quarantined_session_started_at,
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
