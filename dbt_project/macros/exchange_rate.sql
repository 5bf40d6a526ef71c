{# Scalar subquery: the newest rate of a currency up to a date, in the base currency of the seed; null if there is none. #}
{% macro exchange_rate(currency, date) -%}
(
                    select rates.rate from {{ ref('stg_exchange_rates') }} as rates
                    where rates.currency = {{ currency }} and rates.date <= {{ date }}
                    order by rates.date desc
                    limit 1
                )
{%- endmacro %}
