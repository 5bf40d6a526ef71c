{{ config(
    unique_key=['site_id', 'user_id', 'reason', 'started_at'],
    indexes=[{'columns': ['site_id', 'user_id']}],
    meta={'moment': 'started_at'},
) }}

with

events as (

    select * from {{ ref('int_events_sessionised') }} as events
    where quarantine is not null and {{ in_scope('events') }}

),

aggregated as (

    select
        site_id,
        user_id,
        quarantine as reason,
        coalesce(quarantined_session_started_at, '-infinity') as started_at,
        count(*) as event_count,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at
    from events
    group by 1, 2, 3, 4

)

select * from aggregated
