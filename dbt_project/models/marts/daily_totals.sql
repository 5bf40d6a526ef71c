{{ config(indexes=[{'columns': ['site_id', 'date'], 'unique': true}]) }}

with

facts as (

    select * from {{ ref('int_daily_facts') }}

),

aggregated as (

    select
        ---------- keys
        site_id,
        date,

        ---------- measures
        {{ daily_measures() }}
    from facts
    group by 1, 2

)

select * from aggregated
