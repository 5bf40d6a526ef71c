{{ config(materialized='table', tags=['daily'], indexes=[{'columns': ['site_id', 'user_id']}]) }}

with

events as (

    select
        events.*,
        (events.occurred_at at time zone coalesce(sites.timezone, 'UTC'))::date as occurred_date,
        (events.received_at at time zone coalesce(sites.timezone, 'UTC'))::date as received_date
    from {{ ref('int_events') }} as events
    left join {{ ref('stg_sites') }} as sites on events.site_id = sites.site_id
    where not events.is_anonymous and not {{ is_cookieless('events.user_id') }}

),

aggregated as (

    select
        site_id,
        user_id,
        occurred_date,
        received_date,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at,
        max(occurred_at) filter (where event_type = 'add_to_cart') as last_add_to_cart_at,
        count(*) filter (where event_type = 'page_view') as page_views,
        count(*) filter (where event_type = 'click') as clicks,
        count(*) filter (where event_type = 'form_start') as form_starts,
        count(*) filter (where event_type = 'add_to_cart') as add_to_carts,
        max(scroll_percent) as max_scroll_percent
    from events
    group by 1, 2, 3, 4

)

select * from aggregated
