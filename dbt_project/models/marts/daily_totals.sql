{{ config(
    unique_key=['site_id', 'date'],
    indexes=[{'columns': ['site_id', 'date'], 'unique': true}],
    meta={'built_by': 'day'},
) }}

with

{{ daily_facts() }},

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
