{# The columns together name a row. #}
{% test unique_combination(model, columns) %}
select {{ columns | join(', ') }}
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}

{# Each row whose key is known has a row with that key in `parent`. #}
{% test has_parent(model, parent, columns) %}
select child.*
from {{ model }} as child
where
    {% for column in columns %}child.{{ column }} is not null and {% endfor -%}
    not exists (
        select from {{ parent }} as parent
        where {% for column in columns %}{% if not loop.first %} and {% endif %}parent.{{ column }} = child.{{ column }}{% endfor %}
    )
{% endtest %}
