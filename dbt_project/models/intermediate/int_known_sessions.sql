{{ config(materialized='table', tags=['daily'], indexes=[{'columns': ['site_id', 'user_id']}]) }}

with

visitor_cutoffs as not materialized (

    select * from {{ ref('int_visitor_cutoffs') }}

),

events as (

    select * from {{ ref('int_events') }}
    where not is_anonymous

),

starts as (

    select * from {{ ref('int_session_starts') }}
    where not is_anonymous

),

click_ids as (

    select * from {{ ref('click_ids') }}

),

channel_sources as (

    select * from {{ ref('channel_sources') }}

),

-- An event's session depends on earlier events only. So the sessions known at a cut-off are those of today, but for
-- visitors of whom something came in after it that had happened before: these are sessionised anew without it.
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
    'site_id', 'user_id', 'as_of', 'event_id', 'occurred_at', 'referrer_domain', 'utm_source', 'utm_medium',
    'utm_campaign', 'utm_term', 'utm_content', 'click_id', 'device_type', 'browser', 'os',
]) }},

known_starts as (

    select * from sessionised
    where is_session_start

),

{{ acquired('known_starts') }},

final as (

    select * from unchanged
    union all
    select
        site_id,
        user_id,
        as_of,
        event_id,
        occurred_at as started_at,
        channel,
        utm_source,
        utm_campaign,
        coalesce(device_type, 'unknown') as device_type,
        coalesce(browser, 'unknown') as browser,
        coalesce(os, 'unknown') as os
    from acquired

)

select * from final
