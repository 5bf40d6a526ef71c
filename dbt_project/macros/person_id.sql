{#
    Scalar subquery: the person of a visitor at a moment. Queries that do not select the column do not run it. The views
    that use it have no CTE: Postgres plans a view with CTEs by itself, so that a query for the latest 50 rows would read
    all rows.
#}
{% macro person_id(facts, moment) -%}
    coalesce(
        (
            select persons.person_id
            from {{ ref('int_persons') }} as persons
            where
                persons.site_id = {{ facts }}.site_id
                and persons.user_id = {{ facts }}.user_id
                and persons.valid_from <= {{ facts }}.{{ moment }}
                and persons.valid_to > {{ facts }}.{{ moment }}
        ),
        {{ facts }}.user_id
    )
{%- endmacro %}
