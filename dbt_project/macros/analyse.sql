{# Fresh statistics for the models that read this one; a table that was just made has none. #}
{% macro analyse() -%}
    {% if model.config.materialized == 'table' or model.config.materialized == 'incremental' and not is_partial() -%}
        analyze {{ this }}
    {%- endif %}
{%- endmacro %}
