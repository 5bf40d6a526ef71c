{# Sorts and hashes of a build stay in memory; compiling its expressions takes longer than running them. #}
{% macro large_sorts() -%}
    set local work_mem = '128MB'; set local jit = off;
{%- endmacro %}
