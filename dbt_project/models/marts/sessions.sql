{{ config(
    unique_key=['site_id', 'session_id'],
    indexes=[
        {'columns': ['site_id', 'session_id'], 'unique': true},
        {'columns': ['site_id', 'session_date']},
        {'columns': ['site_id', 'user_id']},
    ],
    meta={'notes_days': {
        'column': 'session_date',
        'models': ['daily_metrics', 'daily_totals', 'daily_pages', 'daily_acquisition'],
    }},
) }}

with

starts as (

    select * from {{ ref('int_session_starts') }}
    where {{ of_affected_visitors() }}

),

events as (

    select * from {{ ref('int_events') }}
    where session_id is not null and {{ of_affected_visitors() }}

),

page_views as (

    select * from {{ ref('page_views') }}
    where {{ of_affected_visitors() }}

),

page_engagement as (

    select * from {{ ref('int_page_engagement') }}
    where {{ of_affected_visitors() }}

),

conversions as (

    select * from {{ ref('int_conversions') }}
    where session_id is not null and {{ of_affected_visitors() }}

),

persons as (

    select * from {{ ref('int_persons') }}
    where {{ of_affected_visitors() }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

activity as (

    select
        site_id,
        session_id,
        max(occurred_at) filter (where is_activity) as ended_at,
        count(*) as event_count
    from events
    group by 1, 2

),

pages as (

    select
        site_id,
        session_id,
        count(*) as page_views,
        max(page_path) filter (where is_landing) as landing_page,
        max(page_path) filter (where is_exit) as exit_page
    from page_views
    group by 1, 2

),

engagement as (

    select
        site_id,
        session_id,
        sum(engaged_seconds) as engaged_seconds
    from page_engagement
    group by 1, 2

),

outcomes as (

    select
        site_id,
        session_id,
        count(*) as conversion_count,
        sum(amount) filter (where goal_id = 'purchase') as revenue
    from conversions
    group by 1, 2

),

joined as (

    select
        ---------- ids
        starts.session_id,
        starts.client_session_id,
        starts.site_id,
        starts.user_id,
        coalesce(persons.person_id, starts.user_id) as person_id,

        ---------- times
        starts.started_at,
        activity.ended_at,
        extract(epoch from activity.ended_at - starts.started_at)::double precision as duration_seconds,
        coalesce(engagement.engaged_seconds, 0)::numeric(12, 1) as engaged_seconds,

        ---------- pages
        activity.event_count,
        coalesce(pages.page_views, 0) as page_views,
        pages.landing_page,
        pages.exit_page,

        ---------- where from
        starts.referrer_domain,
        starts.channel,
        starts.utm_source,
        starts.utm_medium,
        starts.utm_campaign,
        starts.utm_term,
        starts.utm_content,

        ---------- what with
        starts.device_type,
        starts.browser,
        starts.os,

        ---------- flags
        coalesce(pages.page_views, 0) < 2
        and coalesce(engagement.engaged_seconds, 0) < 10
        and outcomes.conversion_count is null as is_bounce,
        row_number() over (
            partition by starts.site_id, starts.user_id order by starts.started_at, starts.session_id
        ) = 1 as is_new_visitor,

        ---------- outcome
        coalesce(outcomes.conversion_count, 0) as conversion_count,
        coalesce(outcomes.revenue, 0)::numeric(18, 2) as revenue,
        (starts.started_at at time zone coalesce(sites.timezone, 'UTC'))::date as session_date
    from starts
    inner join activity on starts.site_id = activity.site_id and starts.session_id = activity.session_id
    left join pages on starts.site_id = pages.site_id and starts.session_id = pages.session_id
    left join engagement on starts.site_id = engagement.site_id and starts.session_id = engagement.session_id
    left join outcomes on starts.site_id = outcomes.site_id and starts.session_id = outcomes.session_id
    left join persons on starts.site_id = persons.site_id and starts.user_id = persons.user_id
    left join sites on starts.site_id = sites.site_id

)

-- days lie together, as they are asked for
select * from joined
order by site_id, started_at -- noqa: AM06
