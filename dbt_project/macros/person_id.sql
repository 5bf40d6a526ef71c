{# Scalar subquery: the person of a visitor at a moment. Views that do not select the column do not run it. #}
{% macro person_id(facts, moment) -%}
    coalesce(
            (
                select persons.person_id
                from persons
                where
                    persons.site_id = {{ facts }}.site_id
                    and persons.user_id = {{ facts }}.user_id
                    and persons.valid_from <= {{ facts }}.{{ moment }}
                    and persons.valid_to > {{ facts }}.{{ moment }}
            ),
            {{ facts }}.user_id
        )
{%- endmacro %}
