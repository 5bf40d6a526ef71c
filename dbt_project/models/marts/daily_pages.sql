{{ config(
    unique_key=['site_id', 'date', 'page_path'],
    indexes=[{'columns': ['site_id', 'date']}],
    meta={'built_by': 'day'},
) }}

with

page_views as (

    select * from {{ ref('fct_page_views') }}
    where {{ of_changed_days('view_date') }}

),

sessions as (

    select * from {{ ref('fct_sessions') }}
    where page_views > 0 and {{ of_changed_days('session_date') }}

),

viewed as (

    select
        site_id,
        view_date as date, -- noqa: RF04
        coalesce(page_path, '(none)') as page_path,
        count(*) as page_views,
        count(distinct user_id) filter (where not is_anonymous) as visitors,
        count(*) filter (where is_exit) as exits,
        sum(engaged_seconds)::numeric(18, 1) as engaged_seconds,
        count(time_on_page_seconds) as timed_views,
        sum(time_on_page_seconds)::numeric(18, 3) as time_on_page_seconds,
        count(max_scroll_percent) as scrolled_views,
        sum(max_scroll_percent) as scroll_percent_sum
    from page_views
    group by 1, 2, 3

),

landed as (

    select
        site_id,
        session_date as date, -- noqa: RF04
        coalesce(landing_page, '(none)') as page_path,
        count(*) as entrances,
        count(*) filter (where is_bounce) as bounces,
        sum(conversion_count)::bigint as entrance_conversions,
        sum(revenue)::numeric(18, 2) as entrance_revenue
    from sessions
    group by 1, 2, 3

),

joined as (

    select
        ---------- keys
        coalesce(viewed.site_id, landed.site_id) as site_id,
        coalesce(viewed.date, landed.date) as date, -- noqa: RF04
        coalesce(viewed.page_path, landed.page_path) as page_path,

        ---------- views
        coalesce(viewed.page_views, 0) as page_views,
        coalesce(viewed.visitors, 0) as visitors,
        coalesce(viewed.exits, 0) as exits,
        coalesce(viewed.engaged_seconds, 0)::numeric(18, 1) as engaged_seconds,
        coalesce(viewed.timed_views, 0) as timed_views,
        coalesce(viewed.time_on_page_seconds, 0)::numeric(18, 3) as time_on_page_seconds,
        coalesce(viewed.scrolled_views, 0) as scrolled_views,
        coalesce(viewed.scroll_percent_sum, 0) as scroll_percent_sum,

        ---------- sessions that began here
        coalesce(landed.entrances, 0) as entrances,
        coalesce(landed.bounces, 0) as bounces,
        coalesce(landed.entrance_conversions, 0) as entrance_conversions,
        coalesce(landed.entrance_revenue, 0)::numeric(18, 2) as entrance_revenue
    from viewed
    full join landed
        on
            viewed.site_id = landed.site_id
            and viewed.date = landed.date
            and viewed.page_path = landed.page_path

)

select * from joined
