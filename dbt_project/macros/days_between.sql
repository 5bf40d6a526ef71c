{# Days from one moment to another, with fractions. #}
{% macro days_between(earlier, later) -%}
    (extract(epoch from {{ later }} - {{ earlier }}) / 86400)::double precision
{%- endmacro %}
