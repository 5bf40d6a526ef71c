{{ config(materialized='view', post_hook="alter view {{ this }} set (security_invoker = true)") }}

with

facts as (

    select * from {{ ref('fct_visitors') }}

),

persons as (

    select * from {{ ref('int_persons') }}

),

final as (

    select
        facts.site_id,
        facts.user_id,
        {{ person_id('facts', 'last_seen_at') }} as person_id,
        facts.is_cookieless,
        facts.first_seen_at,
        facts.first_seen_date,
        facts.first_channel,
        facts.first_referrer_domain,
        facts.first_utm_source,
        facts.first_utm_medium,
        facts.first_utm_campaign,
        facts.first_landing_page,
        facts.last_seen_at,
        facts.last_seen_date,
        facts.last_channel,
        facts.last_utm_source,
        facts.last_utm_medium,
        facts.last_utm_campaign,
        facts.device_type,
        facts.browser,
        facts.os,
        facts.session_count,
        facts.visits,
        facts.active_days,
        facts.page_views,
        facts.engaged_seconds,
        facts.conversion_count,
        facts.purchase_count,
        facts.lifetime_revenue,
        facts.first_converted_at,
        facts.last_converted_at
    from facts

)

select * from final
