{{ config(
    unique_key=['site_id', 'session_id'],
    indexes=[
        {'columns': ['site_id', 'session_id'], 'unique': true},
        {'columns': ['site_id', 'user_id']},
        {'columns': ['site_id', 'client_session_id']},
    ],
    meta={'moment': 'started_at'},
) }}

with recursive

events as (

    select * from {{ ref('int_events') }} as events
    where session_id is not null and {{ in_scope('events') }}

),

activity as (

    select * from events
    where is_activity

),

click_ids as (

    select * from {{ ref('click_ids') }}

),

channel_sources as (

    select * from {{ ref('channel_sources') }}

),

sessions as (

    select
        site_id,
        session_id,
        max(occurred_at) filter (where is_activity) as ended_at,
        max(occurred_at) as last_event_at,
        count(*) as event_count
    from events
    group by 1, 2

),

session_starts as (

    select
        *,
        {{ campaign_key() }} as own_campaign
    from events
    where is_session_start

),

{{ acquired('session_starts') }},

{{ sourced('acquired', 'activity') }},

sources as (

    select
        site_id,
        session_id,
        channel,
        referrer_domain,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_term,
        utm_content
    from acquired

),

joined as (

    select
        sourced.site_id,
        sourced.session_id,
        sourced.user_id,
        sourced.client_session_id,
        sourced.event_id,
        sourced.event_rank,
        sourced.is_anonymous,
        sourced.occurred_at as started_at,
        sourced.received_at,
        sourced.source_id <> sourced.session_id as is_source_inherited,
        sourced.own_campaign,
        sourced.referrer_domain as own_referrer_domain,
        sourced.device_type,
        sourced.browser,
        sourced.os,
        sessions.ended_at,
        sessions.last_event_at,
        sessions.event_count,
        sources.referrer_domain,
        sources.channel,
        sources.utm_source,
        sources.utm_medium,
        sources.utm_campaign,
        sources.utm_term,
        sources.utm_content
    from sourced
    inner join sessions on sourced.site_id = sessions.site_id and sourced.session_id = sessions.session_id
    inner join sources on sourced.site_id = sources.site_id and sourced.source_id = sources.session_id

),

-- A visit is a session without the rule of tabs: a session that begins within 30 minutes of the visitor's activity in
-- any tab continues the visit, unless it has another campaign or external referrer.
with_breaks as (

    select
        *,
        (started_at - max(ended_at) over earlier > interval '30 minutes') is not false as is_after_break
    from joined
    window earlier as (
        partition by site_id, user_id order by started_at, event_rank, event_id
        rows between unbounded preceding and 1 preceding
    )

),

with_break_numbers as (

    select
        *,
        count(*) filter (where is_after_break) over (
            partition by site_id, user_id order by started_at, event_rank, event_id
        ) as break_number
    from with_breaks

),

-- the number of the latest session since the break that had a campaign or an external referrer
with_source_numbers as (

    select
        *,
        count(coalesce(own_campaign, own_referrer_domain)) over (
            partition by site_id, user_id, break_number order by started_at, event_rank, event_id
        ) as source_number
    from with_break_numbers

),

with_latest_sources as (

    select
        *,
        first_value(own_campaign) over latest_source as latest_campaign,
        first_value(own_referrer_domain) over latest_source as latest_referrer_domain
    from with_source_numbers
    window latest_source as (
        partition by site_id, user_id, break_number, source_number order by started_at, event_rank, event_id
    )

),

with_former_sources as (

    select
        *,
        lag(latest_campaign) over since_break as former_campaign,
        lag(latest_referrer_domain) over since_break as former_referrer_domain
    from with_latest_sources
    window since_break as (partition by site_id, user_id, break_number order by started_at, event_rank, event_id)

),

with_visit_starts as (

    select
        *,
        is_after_break
        or coalesce(own_campaign <> coalesce(former_campaign, ''), false)
        or coalesce(own_referrer_domain <> coalesce(former_referrer_domain, ''), false) as is_visit_start
    from with_former_sources

),

with_visit_numbers as (

    select
        *,
        count(*) filter (where is_visit_start) over (
            partition by site_id, user_id order by started_at, event_rank, event_id
        ) as visit_number
    from with_visit_starts

),

final as (

    select
        ---------- ids
        site_id,
        session_id,
        user_id,
        client_session_id,
        event_id,
        first_value(session_id) over (
            partition by site_id, user_id, visit_number order by started_at, event_rank, event_id
        ) as visit_id,

        ---------- flags
        is_anonymous,
        is_visit_start,
        is_source_inherited,

        ---------- times
        started_at,
        ended_at,
        last_event_at,
        received_at,
        event_rank,
        event_count,

        ---------- where from
        referrer_domain,
        channel,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_term,
        utm_content,

        ---------- what with
        coalesce(device_type, 'unknown') as device_type,
        coalesce(browser, 'unknown') as browser,
        coalesce(os, 'unknown') as os
    from with_visit_numbers

)

select * from final
