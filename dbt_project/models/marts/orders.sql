{{ config(materialized='view', post_hook="alter view {{ this }} set (security_invoker = true)") }}

select
    facts.site_id,
    facts.order_key,
    facts.order_id,
    facts.transaction_id,
    facts.event_id,
    facts.user_id,
    {{ person_id('facts', 'ordered_at') }} as person_id,
    facts.session_id,
    facts.ordered_at,
    facts.order_date as date, -- noqa: RF04
    facts.status,
    facts.is_confirmed,
    facts.currency,
    facts.gross,
    facts.refunded,
    facts.net,
    facts.reporting_currency,
    facts.gross_reporting,
    facts.refunded_reporting,
    facts.net_reporting,
    facts.item_count,
    facts.refund_count,
    facts.is_refunded_too_much,
    facts.record_count,
    facts.channel,
    facts.device_type
from {{ ref('fct_orders') }} as facts
