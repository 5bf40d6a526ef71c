{{ config(
    unique_key=['site_id', 'date', 'channel', 'device_type'],
    indexes=[{'columns': ['site_id', 'date', 'channel', 'device_type'], 'unique': true}],
    meta={'built_by': 'day'},
) }}

with

{{ daily_facts() }},

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
