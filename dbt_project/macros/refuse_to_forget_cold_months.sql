{#
    For a model that keeps events: a full build reads live and archived events, but months that went cold are files
    outside Postgres, and the model's own table may be all that Postgres still has of them. So a full build that would
    lose some is refused, with the remedy. Called in the model's body; does nothing in a partial build, and nothing
    when no cold month is in the table.
#}
{% macro refuse_to_forget_cold_months() %}
    {%- if execute and model.resource_type == 'model' and not is_incremental() and load_cached_relation(this) -%}
        {%- set held -%}
            select to_char(f.month, 'YYYY-MM') from archive.cold_files as f
            where
                f.dropped_at is not null
                and exists (
                    select from {{ this }} as event
                    where
                        event.created_at >= f.month::timestamp at time zone 'UTC'
                        and event.created_at < (f.month + interval '1 month')::timestamp at time zone 'UTC'
                )
            order by 1
        {%- endset -%}
        {%- set months = run_query(held).columns[0].values() -%}
        {%- if months -%}
            {%- do exceptions.raise_compiler_error(
                'A full build of ' ~ this ~ ' would forget months that are in cold storage: ' ~ months | join(', ')
                ~ '. Bring them back first: tilda restore ' ~ months | join(', tilda restore ')
                ~ '. To let them go instead: drop table ' ~ this ~ ' cascade.'
            ) -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}
