{{ config(
    unique_key=['site_id', 'date'],
    indexes=[{'columns': ['site_id', 'date'], 'unique': true}],
    meta={'built_by': 'day'},
) }}

with

{{ daily_facts() }},

sites as (

    select * from {{ ref('stg_sites') }}

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

),

with_currency as (

    select
        aggregated.*,
        sites.reporting_currency as currency
    from aggregated
    left join sites on aggregated.site_id = sites.site_id

)

select * from with_currency
