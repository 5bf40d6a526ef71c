{# Fresh statistics for the models that read this one; a table that was just made has none. #}
{% macro analyse() -%}
    {% if model.config.materialized in ('table', 'incremental') %}analyze {{ this }}{% endif %}
{%- endmacro %}
