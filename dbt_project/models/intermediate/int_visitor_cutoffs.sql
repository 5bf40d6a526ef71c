{{ config(materialized='table', tags=['daily'], indexes=[{'columns': ['site_id', 'user_id']}]) }}

with

cutoffs as (

    select * from {{ ref('int_cutoffs') }}

),

visitor_days as (

    select * from {{ ref('int_visitor_days') }}

),

active as (

    select distinct
        cutoffs.site_id,
        visitor_days.user_id,
        cutoffs.as_of,
        cutoffs.as_of_date,
        cutoffs.label_until,
        cutoffs.is_for_training
    from cutoffs
    inner join visitor_days
        on
            cutoffs.site_id = visitor_days.site_id
            and cutoffs.as_of_date > visitor_days.received_date
            and cutoffs.as_of_date - 28 <= visitor_days.occurred_date

),

late as (

    select distinct
        active.site_id,
        active.user_id,
        active.as_of
    from active
    inner join visitor_days
        on
            active.site_id = visitor_days.site_id
            and active.user_id = visitor_days.user_id
            and active.as_of_date > visitor_days.occurred_date
            and active.as_of_date <= visitor_days.received_date

),

final as (

    select
        active.*,
        late.as_of is not null as has_late_events
    from active
    left join late
        on active.site_id = late.site_id and active.user_id = late.user_id and active.as_of = late.as_of

)

select * from final
