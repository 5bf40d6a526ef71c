{# The condition holds in each row. #}
{% test is_true(model, condition) %}
select * from {{ model }}
where not ({{ condition }})
{% endtest %}

{# Each order with an amount can be converted. A row names a currency without a rate and its first day. #}
{% test has_exchange_rate(model) %}
select
    site_id,
    currency,
    reporting_currency,
    min(order_date) as first_date,
    count(*) as orders
from {{ model }}
where gross is not null and gross_reporting is null
group by site_id, currency, reporting_currency
{% endtest %}

{# Revenue is the same in all marts: by site and day in those with days, by site in the others. #}
{% test revenue_reconciles(model) %}
with

days as (

    select 'orders' as mart, site_id, date, sum(gross_reporting) as revenue, sum(net_reporting) as net_revenue
    from {{ model }} group by site_id, date
    union all
    select 'conversions', site_id, conversion_date, sum(revenue), sum(net_revenue)
    from {{ ref('conversions') }} group by site_id, conversion_date
    union all
    select 'daily_metrics', site_id, date, sum(revenue), sum(net_revenue)
    from {{ ref('daily_metrics') }} group by site_id, date
    union all
    select 'daily_totals', site_id, date, sum(revenue), sum(net_revenue)
    from {{ ref('daily_totals') }} group by site_id, date
    union all
    select 'daily_acquisition', site_id, date, sum(revenue), sum(net_revenue)
    from {{ ref('daily_acquisition') }} group by site_id, date
    union all
    select 'daily_revenue', site_id, date, sum(revenue_reporting), sum(net_revenue_reporting)
    from {{ ref('daily_revenue') }} group by site_id, date

),

differing_days as (

    select site_id, date
    from days
    where revenue <> 0 or net_revenue <> 0
    group by site_id, date
    having
        count(*) < 6
        or min(revenue) <> max(revenue)
        or min(net_revenue) <> max(net_revenue)

),

sites as (

    select 'conversions' as mart, site_id, sum(revenue) as revenue
    from {{ ref('conversions') }} group by site_id
    union all
    select 'attribution', site_id, round(sum(revenue * linear)::numeric, 2)
    from {{ ref('attribution') }} group by site_id
    union all
    select 'sessions', site_id, sum(revenue)
    from (
        select site_id, revenue from {{ ref('sessions') }}
        union all
        select site_id, revenue from {{ ref('conversions') }} where session_id is null
    ) as with_and_without_session
    group by site_id

),

differing_sites as (

    select site_id
    from sites
    where revenue <> 0
    group by site_id
    having count(*) < 3 or max(revenue) - min(revenue) > 0.01

)

select site_id, date from differing_days
union all
select site_id, null from differing_sites
{% endtest %}
