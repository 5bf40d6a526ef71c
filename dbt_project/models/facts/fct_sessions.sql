{{ config(
    unique_key=['site_id', 'session_id'],
    indexes=[
        {'columns': ['site_id', 'session_id'], 'unique': true},
        {'columns': ['site_id', 'session_date']},
        {'columns': ['site_id', 'user_id']},
    ],
    meta={
        'moment': 'started_at',
        'notes_days': {
            'column': 'session_date',
            'models': ['daily_metrics', 'daily_totals', 'daily_pages', 'daily_acquisition'],
        },
    },
) }}

with

starts as (

    select * from {{ ref('int_session_starts') }} as session_starts
    where {{ in_scope('session_starts', 'started_at') }}

),

page_views as (

    select * from {{ ref('fct_page_views') }} as page_views
    where {{ in_scope('page_views', 'viewed_at') }}

),

page_engagement as (

    select * from {{ ref('int_page_engagement') }} as engagement
    where {{ in_scope('engagement', 'first_reported_at') }}

),

conversions as (

    select * from {{ ref('int_conversions') }} as conversions
    where session_id is not null and {{ in_scope('conversions', 'matched_at') }}

),

-- of all time: a session is that of a new visitor if no earlier one exists
first_sessions as (

    select distinct on (site_id, user_id)
        site_id,
        session_id
    from {{ ref('int_session_starts') }}
    where not is_anonymous and {{ of_affected_visitors(with_changed_events=true) }}
    order by site_id, user_id, started_at, session_id

),

sites as (

    select * from {{ ref('stg_sites') }}

),

pages_by_session as (

    select
        site_id,
        session_id,
        count(*) as page_views,
        max(page_path) filter (where is_landing) as landing_page,
        max(page_path) filter (where is_exit) as exit_page
    from page_views
    group by site_id, session_id

),

engagement_by_session as (

    select
        site_id,
        session_id,
        sum(engaged_seconds) as engaged_seconds
    from page_engagement
    group by site_id, session_id

),

conversions_by_session as (

    select
        site_id,
        session_id,
        count(*) as conversion_count,
        sum(revenue) as revenue
    from conversions
    group by site_id, session_id

),

joined as (

    select
        ---------- ids
        starts.session_id,
        starts.client_session_id,
        starts.visit_id,
        starts.site_id,
        starts.user_id,

        ---------- times
        starts.started_at,
        starts.ended_at,
        extract(epoch from starts.ended_at - starts.started_at)::double precision as duration_seconds,
        coalesce(engagement_by_session.engaged_seconds, 0)::numeric(12, 1) as engaged_seconds,

        ---------- pages
        starts.event_count,
        coalesce(pages_by_session.page_views, 0) as page_views,
        pages_by_session.landing_page,
        pages_by_session.exit_page,

        ---------- where from
        starts.referrer_domain,
        starts.channel,
        starts.utm_source,
        starts.utm_medium,
        starts.utm_campaign,
        starts.utm_term,
        starts.utm_content,
        starts.is_source_inherited,

        ---------- what with
        starts.device_type,
        starts.browser,
        starts.os,

        ---------- flags
        -- a single hit without visitor and session IDs shows nothing about the visit
        coalesce(pages_by_session.page_views, 0) < 2
        and coalesce(engagement_by_session.engaged_seconds, 0) < 10
        and conversions_by_session.conversion_count is null
        and not (starts.is_anonymous and starts.client_session_id is null) as is_bounce,
        first_sessions.session_id is not null as is_new_visitor,
        starts.is_visit_start,
        starts.is_anonymous,

        ---------- outcome
        coalesce(conversions_by_session.conversion_count, 0) as conversion_count,
        coalesce(conversions_by_session.revenue, 0)::numeric(18, 2) as revenue,
        (starts.started_at at time zone coalesce(sites.timezone, 'UTC'))::date as session_date
    from starts
    left join pages_by_session
        on starts.site_id = pages_by_session.site_id and starts.session_id = pages_by_session.session_id
    left join engagement_by_session
        on starts.site_id = engagement_by_session.site_id and starts.session_id = engagement_by_session.session_id
    left join conversions_by_session
        on starts.site_id = conversions_by_session.site_id and starts.session_id = conversions_by_session.session_id
    left join first_sessions
        on starts.site_id = first_sessions.site_id and starts.session_id = first_sessions.session_id
    left join sites on starts.site_id = sites.site_id

)

-- rows of a day are stored together, because queries select days
select * from joined
order by site_id, started_at -- noqa: AM06
