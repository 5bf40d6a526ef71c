{{ config(
    unique_key=['site_id', 'date', 'channel', 'referrer_domain', 'utm_source', 'utm_medium', 'utm_campaign'],
    indexes=[{'columns': ['site_id', 'date']}],
    meta={'built_by': 'day'},
) }}

with

sessions as (

    select * from {{ ref('fct_sessions') }}
    where {{ of_changed_days('session_date') }}

),

aggregated as (

    select
        ---------- keys
        site_id,
        session_date as date, -- noqa: RF04
        channel,
        coalesce(referrer_domain, '(none)') as referrer_domain,
        coalesce(utm_source, '(none)') as utm_source,
        coalesce(utm_medium, '(none)') as utm_medium,
        coalesce(utm_campaign, '(none)') as utm_campaign,

        ---------- measures
        count(*) as sessions,
        count(*) filter (where is_visit_start) as visits,
        count(distinct user_id) filter (where not is_anonymous) as visitors,
        count(*) filter (where is_new_visitor) as new_visitors,
        count(*) filter (where is_bounce) as bounces,
        sum(page_views)::bigint as page_views,
        sum(engaged_seconds)::numeric(18, 1) as engaged_seconds,
        sum(conversion_count)::bigint as conversions,
        sum(revenue)::numeric(18, 2) as revenue
    from sessions
    group by 1, 2, 3, 4, 5, 6, 7

)

select * from aggregated
