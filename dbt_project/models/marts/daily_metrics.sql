{{ config(indexes=[{'columns': ['site_id', 'date', 'channel', 'device_type'], 'unique': true}]) }}

with

facts as (

    select * from {{ ref('int_daily_facts') }}

),

aggregated as (

    select
        ---------- keys
        site_id,
        date,
        channel,
        device_type,

        ---------- measures
        {{ daily_measures() }}
    from facts
    group by 1, 2, 3, 4

)

select * from aggregated
