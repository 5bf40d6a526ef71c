{{ config(unique_key=['site_id', 'user_id', 'reason'], indexes=[{'columns': ['site_id', 'user_id']}]) }}

with

events as (

    select * from {{ ref('int_events_sessionised') }}
    where quarantine is not null and {{ of_affected_visitors() }}

),

aggregated as (

    select
        site_id,
        user_id,
        quarantine as reason,
        case when quarantine = 'session' then session_start_id end as session_start_id,
        count(*) as event_count,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at
    from events
    group by 1, 2, 3, 4

)

select * from aggregated
