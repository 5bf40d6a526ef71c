{{ config(
    materialized='table',
    tags=['daily'],
    indexes=[{'columns': ['site_id', 'funnel_id', 'step'], 'unique': true}],
) }}

with

progress as (

    select * from {{ ref('int_funnel_progress') }}

),

funnels as (

    select * from {{ ref('stg_funnels') }}

),

{{ funnel_measures(['site_id', 'funnel_id']) }}

select * from measured
