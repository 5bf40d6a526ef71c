{{ config(materialized='table') }}

with

days as (

    select day.day::date as date_day
    from generate_series('2010-01-01'::timestamp, '2049-12-31'::timestamp, interval '1 day') as day (day) -- noqa: RF04

)

select * from days
