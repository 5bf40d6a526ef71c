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

conversions as (

    select * from {{ ref('fct_conversions') }}
    where {{ of_changed_days('conversion_date') }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

session_facts as (

    select
        site_id,
        session_date as date, -- noqa: RF04
        channel,
        referrer_domain,
        utm_source,
        utm_medium,
        utm_campaign,
        case when not is_anonymous then user_id end as user_id,
        1 as sessions,
        is_visit_start::int as visits,
        is_new_visitor::int as new_visitors,
        is_bounce::int as bounces,
        page_views,
        engaged_seconds,
        0 as conversions,
        0 as revenue,
        0 as refunded,
        0 as net_revenue
    from sessions

),

-- A conversion counts on its own day, with the source of its session. Without a session, its channel is Unassigned.
conversion_facts as (

    select
        site_id,
        conversion_date as date, -- noqa: RF04
        channel,
        referrer_domain,
        utm_source,
        utm_medium,
        utm_campaign,
        null as user_id,
        0 as sessions,
        0 as visits,
        0 as new_visitors,
        0 as bounces,
        0 as page_views,
        0 as engaged_seconds,
        1 as conversions,
        coalesce(revenue, 0) as revenue,
        coalesce(refunded, 0) as refunded,
        coalesce(net_revenue, 0) as net_revenue
    from conversions

),

facts as (

    select * from session_facts
    union all
    select * from conversion_facts

),

aggregated as (

    select
        ---------- keys
        site_id,
        date,
        channel,
        coalesce(referrer_domain, '(none)') as referrer_domain,
        coalesce(utm_source, '(none)') as utm_source,
        coalesce(utm_medium, '(none)') as utm_medium,
        coalesce(utm_campaign, '(none)') as utm_campaign,

        ---------- measures
        sum(sessions)::bigint as sessions,
        sum(visits)::bigint as visits,
        count(distinct user_id) as visitors,
        sum(new_visitors)::bigint as new_visitors,
        sum(bounces)::bigint as bounces,
        sum(page_views)::bigint as page_views,
        sum(engaged_seconds)::numeric(18, 1) as engaged_seconds,
        sum(conversions)::bigint as conversions,
        sum(revenue)::numeric(18, 2) as revenue,
        sum(refunded)::numeric(18, 2) as refunded,
        sum(net_revenue)::numeric(18, 2) as net_revenue
    from facts
    group by 1, 2, 3, 4, 5, 6, 7

),

with_currency as (

    select
        aggregated.*,
        sites.reporting_currency as currency
    from aggregated
    left join sites on aggregated.site_id = sites.site_id

)

select * from with_currency
