{{ config(materialized='view', tags=['daily']) }}

with recursive

visitor_cutoffs as not materialized (

    select * from {{ ref('int_visitor_cutoffs') }}

),

events as (

    select * from {{ ref('int_events') }}
    where not is_anonymous and not {{ is_cookieless('user_id') }}

),

starts as (

    select * from {{ ref('int_session_starts') }}
    where not is_anonymous and not {{ is_cookieless('user_id') }}

),

click_ids as (

    select * from {{ ref('click_ids') }}

),

channel_sources as (

    select * from {{ ref('channel_sources') }}

),

-- The session of an event and its source depend only on earlier events. So the sessions known at a cutoff are today's
-- sessions, except for visitors with events that happened before the cutoff and arrived after it: their sessions are
-- computed again without these events.
unchanged as (

    select
        visitor_cutoffs.site_id,
        visitor_cutoffs.user_id,
        visitor_cutoffs.as_of,
        starts.event_id,
        starts.started_at,
        starts.channel,
        starts.utm_source,
        starts.utm_campaign,
        starts.device_type,
        starts.browser,
        starts.os
    from visitor_cutoffs
    inner join starts
        on
            visitor_cutoffs.site_id = starts.site_id
            and visitor_cutoffs.user_id = starts.user_id
            and visitor_cutoffs.as_of > starts.received_at
    where not visitor_cutoffs.has_late_events

),

known_events as (

    select
        events.site_id,
        events.user_id,
        visitor_cutoffs.as_of,
        events.event_id,
        events.client_session_id,
        events.event_type,
        events.event_rank,
        events.is_activity,
        events.occurred_at,
        events.referrer_host,
        events.referrer_domain,
        {{ campaign_key() }} as campaign,
        events.utm_source,
        events.utm_medium,
        events.utm_campaign,
        events.utm_term,
        events.utm_content,
        events.click_id,
        events.device_type,
        events.browser,
        events.os
    from visitor_cutoffs
    inner join events
        on
            visitor_cutoffs.site_id = events.site_id
            and visitor_cutoffs.user_id = events.user_id
            and visitor_cutoffs.as_of > events.received_at
    where visitor_cutoffs.has_late_events

),

{{ sessionised('known_events', also_by='as_of', keep=[
    'site_id', 'user_id', 'as_of', 'event_id', 'event_type', 'event_rank', 'is_activity', 'occurred_at', 'referrer_host',
    'referrer_domain', 'utm_source', 'utm_medium', 'utm_campaign', 'utm_term', 'utm_content', 'click_id',
    'device_type', 'browser', 'os',
]) }},

known_activity as (

    select * from sessionised
    where is_activity

),

known_starts as (

    select * from sessionised
    where is_session_start

),

{{ acquired('known_starts') }},

{{ sourced('acquired', 'known_activity', key='session_start_id', keys=['site_id', 'user_id', 'as_of']) }},

final as (

    select * from unchanged
    union all
    select
        sourced.site_id,
        sourced.user_id,
        sourced.as_of,
        sourced.event_id,
        sourced.occurred_at as started_at,
        sources.channel,
        sources.utm_source,
        sources.utm_campaign,
        coalesce(sourced.device_type, 'unknown') as device_type,
        coalesce(sourced.browser, 'unknown') as browser,
        coalesce(sourced.os, 'unknown') as os
    from sourced
    inner join acquired as sources
        on
            sourced.site_id = sources.site_id
            and sourced.user_id = sources.user_id
            and sourced.as_of = sources.as_of
            and sourced.source_id = sources.session_start_id

)

select * from final
