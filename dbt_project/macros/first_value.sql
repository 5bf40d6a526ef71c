{# Aggregate: the value of the row that comes first in `order_by`. #}
{% macro first_value(column, order_by) -%}
    (array_agg({{ column }} order by {{ order_by }}))[1]
{%- endmacro %}
