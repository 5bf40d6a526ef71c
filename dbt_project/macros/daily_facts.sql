{# CTEs up to `facts`: the measures of sessions, page views and conversions of the days to build. Hits without a visitor ID have no `user_id` here, so they count as no visitor. #}
{% macro daily_facts() %}
sessions as (

    select * from {{ ref('fct_sessions') }}
    where {{ of_changed_days('session_date') }}

),

page_views as (

    select * from {{ ref('fct_page_views') }}
    where {{ of_changed_days('view_date') }}

),

conversions as (

    select * from {{ ref('fct_conversions') }}
    where {{ of_changed_days('conversion_date') }}

),

session_facts as (

    select
        site_id,
        session_date as date, -- noqa: RF04
        channel,
        device_type,
        case when not is_anonymous then user_id end as user_id,
        is_new_visitor,
        1 as sessions,
        is_visit_start::int as visits,
        is_bounce::int as bounces,
        engaged_seconds,
        0 as page_views,
        0 as conversions,
        0 as revenue,
        0 as refunded,
        0 as net_revenue
    from sessions

),

-- A session over midnight has page views on two days.
page_view_facts as (

    select
        site_id,
        view_date as date, -- noqa: RF04
        channel,
        device_type,
        case when not is_anonymous then user_id end as user_id,
        false as is_new_visitor,
        0 as sessions,
        0 as visits,
        0 as bounces,
        0 as engaged_seconds,
        count(*) as page_views,
        0 as conversions,
        0 as revenue,
        0 as refunded,
        0 as net_revenue
    from page_views
    group by 1, 2, 3, 4, 5

),

-- Sessions and page views count visitors: a conversion after midnight, or of a webhook alone, adds none.
conversion_facts as (

    select
        site_id,
        conversion_date as date, -- noqa: RF04
        channel,
        device_type,
        null as user_id,
        false as is_new_visitor,
        0 as sessions,
        0 as visits,
        0 as bounces,
        0 as engaged_seconds,
        0 as page_views,
        1 as conversions,
        coalesce(revenue, 0) as revenue,
        coalesce(refunded, 0) as refunded,
        coalesce(net_revenue, 0) as net_revenue
    from conversions

),

facts as (

    select * from session_facts
    union all
    select * from page_view_facts
    union all
    select * from conversion_facts

)
{% endmacro %}
