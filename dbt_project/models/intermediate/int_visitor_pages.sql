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

-- A page counts once however often it was viewed; of what a page view reports, the last total counts.
sightings as (

    select
        site_id,
        user_id,
        occurred_date,
        received_date,
        md5(concat_ws(
            chr(31), event_type = 'page_view', site_id,
            case when event_type = 'page_view' then page_path else coalesce(page_view_id, event_id::text) end, user_id
        ))::uuid as page_key,
        max(engaged_seconds) as engaged_seconds
    from events
    where (event_type = 'page_view' and page_path is not null) or engaged_seconds is not null
    group by 1, 2, 3, 4, 5

),

-- At a cut-off the last sighting known by then stands for the page: this one, until a later one was received.
dated as (

    select
        *,
        min(received_date) over (
            partition by page_key order by occurred_date, received_date
            rows between 1 following and unbounded following
        ) as superseded_date
    from sightings

),

aggregated as (

    select
        site_id,
        user_id,
        occurred_date,
        received_date,
        superseded_date,
        count(*) filter (where engaged_seconds is null) as pages,
        sum(engaged_seconds) as engaged_seconds
    from dated
    group by 1, 2, 3, 4, 5

)

select * from aggregated
