{{ config(
    unique_key=['site_id', 'entry_date', 'funnel_id', 'channel', 'device_type', 'step'],
    indexes=[
        {'columns': ['site_id', 'entry_date', 'funnel_id', 'channel', 'device_type', 'step'], 'unique': true},
        {'columns': ['site_id', 'funnel_id', 'entry_date']},
    ],
    meta={'built_by': 'day'},
) }}

with

progress as (

    select * from {{ ref('int_funnel_progress') }}
    where {{ of_changed_days('entry_date') }}

),

funnels as (

    select * from {{ ref('stg_funnels') }}

),

{{ funnel_measures(['site_id', 'funnel_id', 'entry_date', 'channel', 'device_type']) }}

select * from measured
