{{ config(materialized='table', tags=['daily']) }}

with

events as (

    select * from {{ ref('int_events') }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

newest as (

    select
        events.site_id,
        coalesce(sites.timezone, 'UTC') as timezone,
        (max(events.received_at) at time zone coalesce(sites.timezone, 'UTC'))::date as newest_date
    from events
    left join sites on events.site_id = sites.site_id
    group by events.site_id, sites.timezone

),

dates as (

    -- for scoring: the last midnight
    select
        site_id,
        timezone,
        newest_date as as_of_date,
        false as is_for_training
    from newest
    union all
    -- for training: the newest 12 Mondays whose following 9 days are over
    select
        newest.site_id,
        newest.timezone,
        date_trunc('week', newest.newest_date - 9)::date - 7 * weeks.ago as as_of_date,
        true as is_for_training
    from newest
    cross join generate_series(0, 11) as weeks (ago)

),

final as (

    select
        site_id,
        as_of_date,
        as_of_date::timestamp at time zone timezone as as_of,
        (as_of_date + 7)::timestamp at time zone timezone as label_until,
        is_for_training
    from dates

)

select * from final
