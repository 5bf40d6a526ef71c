{{ config(
    unique_key=['site_id', 'date', 'currency', 'channel'],
    indexes=[{'columns': ['site_id', 'date', 'currency', 'channel'], 'unique': true}],
    meta={'built_by': 'day'},
) }}

with

orders as (

    select * from {{ ref('fct_orders') }}
    where {{ of_changed_days('order_date') }}

),

aggregated as (

    select
        ---------- keys
        site_id,
        order_date as date, -- noqa: RF04
        currency,
        channel,

        ---------- orders
        count(*) as orders,
        count(*) filter (where is_confirmed) as confirmed_orders,
        count(*) filter (where refunded > 0) as refunded_orders,

        ---------- money in the currency of the orders
        coalesce(sum(gross), 0)::numeric(18, 2) as revenue,
        coalesce(sum(refunded), 0)::numeric(18, 2) as refunded,
        coalesce(sum(net), 0)::numeric(18, 2) as net_revenue,

        ---------- money in the reporting currency of the site
        min(reporting_currency) as reporting_currency,
        coalesce(sum(gross_reporting), 0)::numeric(18, 2) as revenue_reporting,
        coalesce(sum(refunded_reporting), 0)::numeric(18, 2) as refunded_reporting,
        coalesce(sum(net_reporting), 0)::numeric(18, 2) as net_revenue_reporting,
        count(*) filter (where gross is not null and gross_reporting is null) as orders_without_rate
    from orders
    group by 1, 2, 3, 4

)

select * from aggregated
