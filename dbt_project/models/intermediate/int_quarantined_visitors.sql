with

events as (

    select * from {{ ref('stg_events') }}
    where not is_bot

),

crowded as (

    select
        site_id,
        user_id,
        count(*) as event_count,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at
    from events
    group by 1, 2
    having count(*) > {{ var('visitor_event_bound') }}

)

select * from crowded
