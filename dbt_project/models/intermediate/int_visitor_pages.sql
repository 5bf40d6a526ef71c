{{ config(indexes=[{'columns': ['site_id', 'user_id']}]) }}

with

events as (

    select
        events.*,
        (events.occurred_at at time zone coalesce(sites.timezone, 'UTC'))::date as occurred_date,
        (events.received_at at time zone coalesce(sites.timezone, 'UTC'))::date as received_date
    from {{ ref('int_events_sessionised') }} as events
    left join {{ ref('stg_sites') }} as sites on events.site_id = sites.site_id
    where not events.is_anonymous

),

aggregated as (

    select
        site_id,
        user_id,
        occurred_date,
        received_date,
        case when event_type = 'page_view' then page_path end as page_path,
        case when event_type <> 'page_view' then coalesce(page_view_id, event_id::text) end as page_view_id,
        max(engaged_seconds) as engaged_seconds
    from events
    where (event_type = 'page_view' and page_path is not null) or engaged_seconds is not null
    group by 1, 2, 3, 4, 5, 6

)

select * from aggregated
