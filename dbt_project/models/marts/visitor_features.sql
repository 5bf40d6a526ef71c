{{ config(
    materialized='table',
    tags=['daily'],
    indexes=[{'columns': ['site_id', 'as_of', 'user_id'], 'unique': true}],
) }}

with

visitor_cutoffs as not materialized (

    select * from {{ ref('int_visitor_cutoffs') }}

),

visitor_days as (

    select * from {{ ref('int_visitor_days') }}

),

visitor_pages as (

    select * from {{ ref('int_visitor_pages') }}

),

known_sessions as materialized (

    select
        known.*,
        known.started_at at time zone coalesce(sites.timezone, 'UTC') as local_started_at
    from {{ ref('int_known_sessions') }} as known
    left join {{ ref('stg_sites') }} as sites on known.site_id = sites.site_id

),

session_starts as (

    select * from {{ ref('int_session_starts') }}

),

conversion_events as not materialized (

    select
        *,
        (occurred_at at time zone timezone)::date as occurred_date,
        -- the browser's and the webhook's record of one conversion count once
        event_type || ':' || coalesce(
            case when event_type = 'purchase' then 'order:' || order_id end,
            'transaction:' || transaction_id,
            'event:' || event_id
        ) as conversion_key
    from (
        select
            events.*,
            coalesce(sites.timezone, 'UTC') as timezone
        from {{ ref('int_events') }} as events
        left join {{ ref('stg_sites') }} as sites on events.site_id = sites.site_id
        where events.event_type in ('form_submit', 'signup', 'purchase')
    ) as zoned

),

---------- Features: what was received before the cut-off. Days are the site's; "7 days" are the 7 before the cut-off.

activity as (

    select
        cutoffs.site_id,
        cutoffs.user_id,
        cutoffs.as_of,
        min(daily.first_event_at) as first_event_at,
        max(daily.last_event_at) as last_event_at,
        max(daily.last_add_to_cart_at) as last_add_to_cart_at,
        count(distinct daily.occurred_date) filter (where daily.occurred_date >= cutoffs.as_of_date - 7)
            as active_days_7d,
        count(distinct daily.occurred_date) filter (where daily.occurred_date >= cutoffs.as_of_date - 28)
            as active_days_28d,
        sum(daily.page_views) filter (where daily.occurred_date >= cutoffs.as_of_date - 7) as page_views_7d,
        sum(daily.page_views) filter (where daily.occurred_date >= cutoffs.as_of_date - 28) as page_views_28d,
        sum(daily.clicks) filter (where daily.occurred_date >= cutoffs.as_of_date - 28) as clicks_28d,
        max(daily.max_scroll_percent) filter (where daily.occurred_date >= cutoffs.as_of_date - 28)
            as max_scroll_percent_28d,
        sum(daily.form_starts) filter (where daily.occurred_date >= cutoffs.as_of_date - 28) as form_starts_28d,
        sum(daily.add_to_carts) filter (where daily.occurred_date >= cutoffs.as_of_date - 7) as add_to_carts_7d,
        sum(daily.add_to_carts) filter (where daily.occurred_date >= cutoffs.as_of_date - 28) as add_to_carts_28d
    from visitor_cutoffs as cutoffs
    inner join visitor_days as daily
        on
            cutoffs.site_id = daily.site_id
            and cutoffs.user_id = daily.user_id
            and cutoffs.as_of_date > daily.received_date
    group by cutoffs.site_id, cutoffs.user_id, cutoffs.as_of

),

attention as (

    select
        cutoffs.site_id,
        cutoffs.user_id,
        cutoffs.as_of,
        sum(pages.pages) as distinct_pages_28d,
        sum(pages.engaged_seconds) as engaged_seconds_28d
    from visitor_cutoffs as cutoffs
    inner join visitor_pages as pages
        on
            cutoffs.site_id = pages.site_id
            and cutoffs.user_id = pages.user_id
            and cutoffs.as_of_date > pages.received_date
            and (pages.superseded_date is null or cutoffs.as_of_date <= pages.superseded_date)
            and cutoffs.as_of_date - 28 <= pages.occurred_date
    group by cutoffs.site_id, cutoffs.user_id, cutoffs.as_of

),

visits as (

    select
        cutoffs.site_id,
        cutoffs.user_id,
        cutoffs.as_of,
        count(*) filter (where known.local_started_at >= cutoffs.as_of_date - 7) as sessions_7d,
        count(*) filter (
            where known.local_started_at >= cutoffs.as_of_date - 14
            and known.local_started_at < cutoffs.as_of_date - 7
        ) as sessions_the_week_before,
        count(*) filter (where known.local_started_at >= cutoffs.as_of_date - 28) as sessions_28d,
        count(*) filter (
            where known.local_started_at >= cutoffs.as_of_date - 28
            and extract(hour from known.local_started_at) >= 18
        ) as evening_sessions_28d,
        count(*) filter (
            where known.local_started_at >= cutoffs.as_of_date - 28
            and extract(isodow from known.local_started_at) >= 6
        ) as weekend_sessions_28d
    from visitor_cutoffs as cutoffs
    inner join known_sessions as known
        on cutoffs.site_id = known.site_id and cutoffs.user_id = known.user_id and cutoffs.as_of = known.as_of
    group by cutoffs.site_id, cutoffs.user_id, cutoffs.as_of

),

first_visits as (

    select distinct on (site_id, user_id, as_of) *
    from known_sessions
    order by site_id, user_id, as_of, started_at, event_id

),

last_visits as (

    select distinct on (site_id, user_id, as_of) *
    from known_sessions
    order by site_id asc, user_id asc, as_of asc, started_at desc, event_id desc

),

known_conversions as (

    select
        cutoffs.site_id,
        cutoffs.user_id,
        cutoffs.as_of,
        cutoffs.as_of_date,
        min(conversion_events.event_type) as event_type,
        min(conversion_events.occurred_at) as converted_at,
        min(conversion_events.occurred_date) as conversion_date,
        {{ first_value(
            'conversion_events.order_amount',
            "conversion_events.order_amount is null, conversion_events.source <> 'webhook',"
            ~ " conversion_events.occurred_at, conversion_events.event_id"
        ) }} as amount
    from visitor_cutoffs as cutoffs
    inner join conversion_events
        on
            cutoffs.site_id = conversion_events.site_id
            and cutoffs.user_id = conversion_events.user_id
            and cutoffs.as_of > conversion_events.received_at
    group by
        cutoffs.site_id, cutoffs.user_id, cutoffs.as_of, cutoffs.as_of_date, conversion_events.conversion_key

),

outcomes as (

    select
        site_id,
        user_id,
        as_of,
        count(*) as conversions_total,
        sum(amount) filter (where event_type = 'purchase') as revenue_total,
        max(converted_at) as last_converted_at,
        count(*) filter (where event_type = 'form_submit' and conversion_date >= as_of_date - 28) as form_submits_28d,
        count(*) filter (where event_type = 'purchase' and conversion_date >= as_of_date - 28) as purchases_28d
    from known_conversions
    group by site_id, user_id, as_of

),

---------- Labels: what happened in the 7 days after the cut-off

later_conversions as (

    select
        cutoffs.site_id,
        cutoffs.user_id,
        cutoffs.as_of,
        bool_or(conversion_events.event_type = 'purchase') as has_purchased
    from visitor_cutoffs as cutoffs
    inner join conversion_events
        on
            cutoffs.site_id = conversion_events.site_id
            and cutoffs.user_id = conversion_events.user_id
            and cutoffs.as_of < conversion_events.occurred_at
            and cutoffs.label_until >= conversion_events.occurred_at
    where cutoffs.is_for_training
    group by cutoffs.site_id, cutoffs.user_id, cutoffs.as_of

),

returns as (

    select distinct
        cutoffs.site_id,
        cutoffs.user_id,
        cutoffs.as_of
    from visitor_cutoffs as cutoffs
    inner join session_starts
        on
            cutoffs.site_id = session_starts.site_id
            and cutoffs.user_id = session_starts.user_id
            and cutoffs.as_of < session_starts.started_at
            and cutoffs.label_until >= session_starts.started_at
    where cutoffs.is_for_training

),

joined as (

    select
        ---------- keys
        cutoffs.site_id,
        cutoffs.user_id,
        cutoffs.as_of,

        ---------- recency and frequency
        {{ days_between('activity.last_event_at', 'cutoffs.as_of') }} as days_since_last_event,
        {{ days_between('activity.first_event_at', 'cutoffs.as_of') }} as days_since_first_event,
        {{ days_between('activity.last_add_to_cart_at', 'cutoffs.as_of') }} as days_since_last_add_to_cart,
        activity.active_days_7d,
        activity.active_days_28d,
        coalesce(visits.sessions_7d, 0) as sessions_7d,
        coalesce(visits.sessions_28d, 0) as sessions_28d,
        coalesce(visits.sessions_7d - visits.sessions_the_week_before, 0) as sessions_trend,

        ---------- depth
        coalesce(activity.page_views_7d, 0)::bigint as page_views_7d,
        coalesce(activity.page_views_28d, 0)::bigint as page_views_28d,
        coalesce(attention.distinct_pages_28d, 0)::bigint as distinct_pages_28d,
        coalesce(activity.clicks_28d, 0)::bigint as clicks_28d,
        coalesce(attention.engaged_seconds_28d, 0)::double precision as engaged_seconds_28d,
        activity.max_scroll_percent_28d::bigint as max_scroll_percent_28d,

        ---------- intent and outcome
        coalesce(activity.form_starts_28d, 0)::bigint as form_starts_28d,
        coalesce(outcomes.form_submits_28d, 0) as form_submits_28d,
        coalesce(activity.add_to_carts_7d, 0)::bigint as add_to_carts_7d,
        coalesce(activity.add_to_carts_28d, 0)::bigint as add_to_carts_28d,
        coalesce(outcomes.purchases_28d, 0) as purchases_28d,
        coalesce(outcomes.conversions_total, 0) as conversions_total,
        coalesce(outcomes.revenue_total, 0)::double precision as revenue_total,
        {{ days_between('outcomes.last_converted_at', 'cutoffs.as_of') }} as days_since_last_conversion,

        ---------- habits
        visits.evening_sessions_28d / nullif(visits.sessions_28d, 0)::double precision as evening_share_28d,
        visits.weekend_sessions_28d / nullif(visits.sessions_28d, 0)::double precision as weekend_share_28d,

        ---------- where from and what with
        first_visits.channel as first_channel,
        last_visits.channel as last_channel,
        last_visits.utm_source as last_utm_source,
        last_visits.utm_campaign as last_utm_campaign,
        last_visits.device_type,
        last_visits.browser,
        last_visits.os,

        ---------- labels
        case when cutoffs.is_for_training then later_conversions.as_of is not null end as converted_7d,
        case when cutoffs.is_for_training then coalesce(later_conversions.has_purchased, false) end as purchased_7d,
        case when cutoffs.is_for_training then returns.as_of is not null end as returned_7d
    from visitor_cutoffs as cutoffs
    inner join activity
        on
            cutoffs.site_id = activity.site_id
            and cutoffs.user_id = activity.user_id
            and cutoffs.as_of = activity.as_of
    left join attention
        on
            cutoffs.site_id = attention.site_id
            and cutoffs.user_id = attention.user_id
            and cutoffs.as_of = attention.as_of
    left join visits
        on
            cutoffs.site_id = visits.site_id
            and cutoffs.user_id = visits.user_id
            and cutoffs.as_of = visits.as_of
    left join first_visits
        on
            cutoffs.site_id = first_visits.site_id
            and cutoffs.user_id = first_visits.user_id
            and cutoffs.as_of = first_visits.as_of
    left join last_visits
        on
            cutoffs.site_id = last_visits.site_id
            and cutoffs.user_id = last_visits.user_id
            and cutoffs.as_of = last_visits.as_of
    left join outcomes
        on
            cutoffs.site_id = outcomes.site_id
            and cutoffs.user_id = outcomes.user_id
            and cutoffs.as_of = outcomes.as_of
    left join later_conversions
        on
            cutoffs.site_id = later_conversions.site_id
            and cutoffs.user_id = later_conversions.user_id
            and cutoffs.as_of = later_conversions.as_of
    left join returns
        on
            cutoffs.site_id = returns.site_id
            and cutoffs.user_id = returns.user_id
            and cutoffs.as_of = returns.as_of

)

select * from joined
