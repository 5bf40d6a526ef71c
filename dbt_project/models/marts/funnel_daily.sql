{{ config(indexes=[
    {'columns': ['site_id', 'funnel_id', 'entry_date', 'channel', 'device_type', 'step'], 'unique': true},
]) }}

with

progress as (

    select * from {{ ref('int_funnel_progress') }}

),

funnels as (

    select * from {{ ref('funnels') }}

),

{{ funnel_measures(['site_id', 'funnel_id', 'entry_date', 'channel', 'device_type']) }}

select * from measured
