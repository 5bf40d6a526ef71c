{{ config(materialized='view', post_hook="alter view {{ this }} set (security_invoker = true)") }}

select
    facts.conversion_id,
    facts.site_id,
    facts.goal_id,
    facts.event_id,
    facts.session_id,
    facts.user_id,
    {{ person_id('facts', 'converted_at') }} as person_id,
    facts.order_id,
    facts.transaction_id,
    facts.goal_name,
    facts.event_type,
    facts.page_path,
    facts.form_id,
    facts.is_confirmed_by_webhook,
    facts.event_count,
    facts.value, -- noqa: RF04
    facts.currency,
    facts.revenue,
    facts.amount_is_unknown,
    facts.channel,
    facts.device_type,
    facts.converted_at,
    facts.conversion_date
from {{ ref('fct_conversions') }} as facts
