{#
    Settings of a full build, which reads whole tables. Sorts and hashes stay in memory; compiling the expressions would
    take longer than running them. Nested loops are for few rows: the planner chooses them for tables that have no
    statistics yet, and 4,000 events then take minutes; and for joins on several columns that go together, which it takes
    for independent. Merge joins it then makes on the site alone, comparing all visitors with all: a hash join takes all
    columns of the key, whatever the planner expects.
#}
{% macro whole_tables() -%}
    set local work_mem = '128MB'; set local jit = off; set local enable_nestloop = off;
    set local enable_mergejoin = off;
{%- endmacro %}
