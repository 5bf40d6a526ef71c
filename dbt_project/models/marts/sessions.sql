{{ config(materialized='view', post_hook="alter view {{ this }} set (security_invoker = true)") }}

with

facts as (

    select * from {{ ref('fct_sessions') }}

),

persons as (

    select * from {{ ref('int_persons') }}

),

final as (

    select
        facts.session_id,
        facts.client_session_id,
        facts.visit_id,
        facts.site_id,
        facts.user_id,
        {{ person_id('facts', 'started_at') }} as person_id,
        facts.started_at,
        facts.ended_at,
        facts.duration_seconds,
        facts.engaged_seconds,
        facts.event_count,
        facts.page_views,
        facts.landing_page,
        facts.exit_page,
        facts.referrer_domain,
        facts.channel,
        facts.utm_source,
        facts.utm_medium,
        facts.utm_campaign,
        facts.utm_term,
        facts.utm_content,
        facts.is_source_inherited,
        facts.device_type,
        facts.browser,
        facts.os,
        facts.is_bounce,
        facts.is_new_visitor,
        facts.is_visit_start,
        facts.is_anonymous,
        facts.conversion_count,
        facts.revenue,
        facts.session_date
    from facts

)

select * from final
