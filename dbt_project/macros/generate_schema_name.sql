{#
    In production (target `warehouse`), schemas have their own names: `marts`, `intermediate`, `staging`. Any other target
    is for development: the target's schema is put before each name (`dev_marts`), so that it never writes to production.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set name = (custom_schema_name or 'custom') | trim -%}
    {{ name if target.name == 'warehouse' else target.schema ~ '_' ~ name }}
{%- endmacro %}

{# Schema of the functions that this project creates. #}
{% macro function_schema() -%}
    {{ generate_schema_name('intermediate', none) }}
{%- endmacro %}

{#
    Table of the state of incremental builds. Production uses the tables of the migrations in the schema `ops`; a
    development target has its own (`dev_ops`), so that its builds do not change how far production has read.
#}
{% macro state(table) -%}
    {{ generate_schema_name('ops', none) }}.{{ table }}
{%- endmacro %}

{# Before a run: create the state tables of a development target. #}
{% macro create_state_tables() -%}
    {%- if execute and target.name != 'warehouse' %}
        create schema if not exists {{ generate_schema_name('ops', none) }};
        {%- for table in ('watermarks', 'visitors_to_rebuild', 'days_to_rebuild', 'rebuild_days', 'site_settings') %}
            create table if not exists {{ state(table) }} (like ops.{{ table }} including all);
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
