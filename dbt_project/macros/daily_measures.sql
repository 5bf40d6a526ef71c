{# The measures of a group of rows of the CTE `facts` (`daily_facts`). #}
{% macro daily_measures() -%}
count(distinct user_id) as visitors,
        count(distinct user_id) filter (where is_new_visitor) as new_visitors,
        sum(sessions)::bigint as sessions,
        sum(visits)::bigint as visits,
        sum(page_views)::bigint as page_views,
        sum(bounces)::bigint as bounces,
        (sum(bounces) / nullif(sum(sessions), 0)::double precision) as bounce_rate,
        sum(engaged_seconds)::numeric(18, 1) as engaged_seconds,
        sum(conversions)::bigint as conversions,
        sum(revenue)::numeric(18, 2) as revenue,
        sum(refunded)::numeric(18, 2) as refunded,
        sum(net_revenue)::numeric(18, 2) as net_revenue
{%- endmacro %}
