{#
    CTEs up to `measured`: the measures of the funnel steps in `progress`, for each group of `keys`. Steps that nobody of
    a group has reached have a row too.
#}
{% macro funnel_measures(keys) %}
groups as (

    select
        {{ keys | join(',\n        ') }},
        count(*) as entered
    from progress
    where step = 1
    group by {{ keys | join(', ') }}

),

reached as (

    select
        {{ keys | join(',\n        ') }},
        step,
        count(*) as reached,
        percentile_cont(0.5) within group (order by seconds_to_next) as median_seconds_to_next,
        percentile_cont(0.9) within group (order by seconds_to_next) as p90_seconds_to_next
    from progress
    group by {{ keys | join(', ') }}, step

),

measured as (

    select
        {% for key in keys %}groups.{{ key }},
        {% endfor -%}
        funnels.funnel_name,
        funnels.step,
        funnels.step_name,
        groups.entered,
        coalesce(reached.reached, 0) as reached,
        coalesce(reached.reached, 0) / groups.entered::double precision as rate,
        reached.median_seconds_to_next,
        reached.p90_seconds_to_next
    from groups
    inner join funnels
        on
            groups.funnel_id = funnels.funnel_id
            and (funnels.site_id is null or groups.site_id = funnels.site_id)
    left join reached
        on
            funnels.step = reached.step
            {% for key in keys %}and groups.{{ key }} = reached.{{ key }}
            {% endfor %}
)
{% endmacro %}
