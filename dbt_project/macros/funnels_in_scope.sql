{#
    The part of the funnels that a build recomputes: what happened since `since`, and the entry of each visitor and funnel
    whose window ends after `since`, from its first event on, because further events may reach its next steps.

    CTEs of a partial build, none in a full build. recomputed_visitors: the time from which the events of a visitor are read;
    open_entries: the first event of the earliest entry to recompute, by visitor and funnel.
#}
{% macro open_entries() %}
{%- if is_partial() %}
open_entries as (

    select
        stored.site_id,
        stored.user_id,
        stored.funnel_id,
        min(stored.entered_at) as entered_at
    from {{ this }} as stored
    where {{ in_scope('stored', 'window_ends_at') }}
    group by stored.site_id, stored.user_id, stored.funnel_id

),

recomputed_visitors as (

    select
        affected.site_id,
        affected.user_id,
        affected.since,
        least(affected.since, min(open_entries.entered_at)) as recomputed_from
    from {{ ref('int_affected_visitors') }} as affected
    left join open_entries on affected.site_id = open_entries.site_id and affected.user_id = open_entries.user_id
    where affected.since < 'infinity'
    group by affected.site_id, affected.user_id, affected.since

),
{% endif %}
{%- endmacro %}

{# Condition: the event may reach a step of an entry to recompute, of any funnel. #}
{% macro may_reach_a_step(events) -%}
    {%- if is_partial() -%}
        exists (
            select from recomputed_visitors
            where
                recomputed_visitors.site_id = {{ events }}.site_id
                and recomputed_visitors.user_id = {{ events }}.user_id
                and recomputed_visitors.recomputed_from <= {{ events }}.occurred_at
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# Condition: the event may reach a step of an entry to recompute of this funnel. #}
{% macro may_reach_a_step_of(funnels, events) -%}
    {%- if is_partial() -%}
        exists (
            select from recomputed_visitors
            left join open_entries
                on
                    recomputed_visitors.site_id = open_entries.site_id
                    and recomputed_visitors.user_id = open_entries.user_id
                    and open_entries.funnel_id = {{ funnels }}.funnel_id
            where
                recomputed_visitors.site_id = {{ events }}.site_id
                and recomputed_visitors.user_id = {{ events }}.user_id
                and least(recomputed_visitors.since, open_entries.entered_at) <= {{ events }}.occurred_at
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
