{{ config(materialized='view', post_hook="alter view {{ this }} set (security_invoker = true)") }}

select
    facts.site_id,
    facts.conversion_id,
    facts.session_id,
    facts.goal_id,
    facts.user_id,
    {{ person_id('facts', 'converted_at') }} as person_id,
    facts.converted_at,
    facts.conversion_date,
    facts.value, -- noqa: RF04
    facts.revenue,
    facts.net_revenue,
    facts.touched_at,
    facts.touch_number,
    facts.touch_count,
    facts.channel,
    facts.utm_source,
    facts.utm_medium,
    facts.utm_campaign,
    facts.first_touch,
    facts.last_touch,
    facts.last_non_direct,
    facts.linear,
    facts.position_based,
    facts.time_decay
from {{ ref('fct_attribution') }} as facts
