{# In a partial build of int_page_engagement: `union all` with the stored rows that it does not recompute. #}
{% macro earlier_reports() -%}
    {%- if is_partial() -%}
    union all
    select
        stored.site_id,
        stored.user_id,
        stored.session_id,
        stored.page_view_id,
        stored.page_view_sequence,
        stored.first_reported_at,
        stored.reported_engaged_seconds,
        stored.reported_time_on_page_seconds,
        stored.max_scroll_percent,
        false as is_in_scope
    from {{ this }} as stored
    where
        stored.page_view_id is not null
        and {{ of_affected_visitors(with_changed_events=true) }}
        and not {{ in_scope('stored', 'first_reported_at') }}
    {%- endif -%}
{%- endmacro %}
