{{ config(unique_key=['site_id', 'session_id'], indexes=[
    {'columns': ['site_id', 'session_id'], 'unique': true},
    {'columns': ['site_id', 'user_id']},
    {'columns': ['site_id', 'client_session_id']},
]) }}

with

events as (

    select * from {{ ref('int_events') }}
    where is_session_start and {{ of_affected_visitors() }}

),

click_ids as (

    select * from {{ ref('click_ids') }}

),

channel_sources as (

    select * from {{ ref('channel_sources') }}

),

{{ acquired('events') }},

final as (

    select
        ---------- ids
        site_id,
        session_id,
        user_id,
        client_session_id,
        event_id,
        is_anonymous,

        ---------- times
        occurred_at as started_at,
        received_at,

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
    from acquired

)

select * from final
