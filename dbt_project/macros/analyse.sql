{# Statistics of a new table, for the models that read it. Runs before `finish_build`, which ends a full build. #}
{% macro analyse() -%}
    {% if model.config.materialized == 'table' or model.config.materialized == 'incremental' and not is_partial() -%}
        analyze {{ this }}
    {%- endif %}
{%- endmacro %}
