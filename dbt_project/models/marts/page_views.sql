{{ config(materialized='view', post_hook="alter view {{ this }} set (security_invoker = true)") }}

select
    facts.event_id,
    facts.site_id,
    facts.session_id,
    facts.user_id,
    {{ person_id('facts', 'viewed_at') }} as person_id,
    facts.page_view_id,
    facts.page_host,
    facts.page_path,
    facts.page_title,
    facts.page_number,
    facts.next_page,
    facts.is_landing,
    facts.is_exit,
    facts.is_anonymous,
    facts.time_on_page_seconds,
    facts.engaged_seconds,
    facts.max_scroll_percent,
    facts.channel,
    facts.device_type,
    facts.viewed_at,
    facts.view_date
from {{ ref('fct_page_views') }} as facts
