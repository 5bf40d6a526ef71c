{{ config(materialized='view') }}

with

events as (

    select * from {{ ref('stg_events') }}
    where
        not is_bot
        and loaded_at > now() - interval '1 hour'
        -- narrows the read to one or two months
        and created_at between now() - interval '35 days' and now() + interval '25 hours'

),

recent as (

    select distinct on (site_id, event_id) *
    from events
    where occurred_at > now() - interval '30 minutes'
    order by site_id, event_id, received_at, created_at

),

aggregated as (

    select
        site_id,
        count(distinct user_id) filter (where is_activity and not is_anonymous) as visitors,
        count(*) filter (where event_type = 'page_view') as page_views,
        count(*) filter (where event_type in ('form_submit', 'signup', 'purchase')) as conversion_events,
        count(*) as events,
        max(occurred_at) as last_event_at
    from recent
    group by site_id

)

select * from aggregated
