{{ config(
    unique_key=['site_id', 'user_id'],
    indexes=[{'columns': ['site_id', 'user_id'], 'unique': true}, {'columns': ['site_id', 'first_seen_date']}],
    meta={'built_by': 'visitor', 'with_changed_events': true},
) }}

with

-- hits without a visitor ID are not visitors
sessions as not materialized (

    select * from {{ ref('fct_sessions') }}
    where not is_anonymous and {{ of_affected_visitors(with_changed_events=true) }}

),

conversions as (

    select * from {{ ref('fct_conversions') }}
    where {{ of_affected_visitors(with_changed_events=true) }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

first_touches as (

    select distinct on (site_id, user_id) *
    from sessions
    order by site_id, user_id, started_at, session_id

),

last_touches as (

    select distinct on (site_id, user_id) *
    from sessions
    order by site_id asc, user_id asc, started_at desc, session_id desc

),

totals as (

    select
        site_id,
        user_id,
        max(ended_at) as last_seen_at,
        count(*) as session_count,
        count(*) filter (where is_visit_start) as visits,
        count(distinct session_date) as active_days,
        sum(page_views)::bigint as page_views,
        sum(engaged_seconds)::numeric(18, 1) as engaged_seconds
    from sessions
    group by site_id, user_id

),

outcomes as (

    select
        site_id,
        user_id,
        count(*) as conversion_count,
        count(*) filter (where goal_id = 'purchase') as purchase_count,
        sum(revenue) as revenue,
        min(converted_at) as first_converted_at,
        max(converted_at) as last_converted_at
    from conversions
    group by site_id, user_id

),

joined as (

    select
        ---------- ids
        totals.site_id,
        totals.user_id,
        {{ is_cookieless('totals.user_id') }} as is_cookieless,

        ---------- first touch
        first_touches.started_at as first_seen_at,
        first_touches.session_date as first_seen_date,
        first_touches.channel as first_channel,
        first_touches.referrer_domain as first_referrer_domain,
        first_touches.utm_source as first_utm_source,
        first_touches.utm_medium as first_utm_medium,
        first_touches.utm_campaign as first_utm_campaign,
        first_touches.landing_page as first_landing_page,

        ---------- last touch
        totals.last_seen_at,
        (totals.last_seen_at at time zone coalesce(sites.timezone, 'UTC'))::date as last_seen_date,
        last_touches.channel as last_channel,
        last_touches.utm_source as last_utm_source,
        last_touches.utm_medium as last_utm_medium,
        last_touches.utm_campaign as last_utm_campaign,
        last_touches.device_type,
        last_touches.browser,
        last_touches.os,

        ---------- counts
        totals.session_count,
        totals.visits,
        totals.active_days,
        totals.page_views,
        totals.engaged_seconds,

        ---------- outcome
        coalesce(outcomes.conversion_count, 0) as conversion_count,
        coalesce(outcomes.purchase_count, 0) as purchase_count,
        coalesce(outcomes.revenue, 0)::numeric(18, 2) as lifetime_revenue,
        outcomes.first_converted_at,
        outcomes.last_converted_at
    from totals
    inner join first_touches on totals.site_id = first_touches.site_id and totals.user_id = first_touches.user_id
    inner join last_touches on totals.site_id = last_touches.site_id and totals.user_id = last_touches.user_id
    left join outcomes on totals.site_id = outcomes.site_id and totals.user_id = outcomes.user_id
    left join sites on totals.site_id = sites.site_id

)

select * from joined
