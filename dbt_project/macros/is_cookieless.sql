{# Condition: the visitor ID was made by the API for one day, for a visitor without cookies. Clients cannot send it. #}
{% macro is_cookieless(user_id) -%}
    {{ user_id }} like 'cookieless.%'
{%- endmacro %}
