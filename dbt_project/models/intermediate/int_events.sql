{{ config(materialized='view') }}

select * from {{ ref('int_events_sessionised') }} -- noqa: AM04
where is_counted
