{#
Fills a seed's table. dbt empties the table and inserts the rows, which fails if a release adds or renames a column of the
file: then the table is replaced. The views on the old table are dropped with it; the same build creates them anew.
#}
{% macro postgres__reset_csv_table(model, full_refresh, old_relation, agate_table) %}
    {% set old_columns = adapter.get_columns_in_relation(old_relation) | map(attribute='name') | list %}
    {% set is_replaced = full_refresh or old_columns != agate_table.column_names | list %}
    {{ return(default__reset_csv_table(model, is_replaced, old_relation, agate_table)) }}
{% endmacro %}
