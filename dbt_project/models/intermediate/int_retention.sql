{{ config(
    unique_key=['site_id', 'period_start', 'period', 'cohort_start'],
    indexes=[{'columns': ['site_id', 'period_start', 'period', 'cohort_start'], 'unique': true}],
    meta={'built_by': 'day'},
) }}

with

visitor_periods as (

    select * from {{ ref('int_visitor_periods') }}
    where {{ of_changed_days('period_start') }}

),

aggregated as (

    select
        site_id,
        period_start,
        period,
        cohort_start,
        count(*) as visitors,
        sum(revenue)::numeric(18, 2) as revenue
    from visitor_periods
    group by 1, 2, 3, 4

)

select * from aggregated
