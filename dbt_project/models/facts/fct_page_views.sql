{{ config(
    unique_key=['site_id', 'event_id'],
    indexes=[
        {'columns': ['site_id', 'event_id'], 'unique': true},
        {'columns': ['site_id', 'view_date']},
        {'columns': ['site_id', 'left(page_path, 200)', 'view_date']},
        {'columns': ['site_id', 'session_id']},
        {'columns': ['site_id', 'user_id']},
    ],
    meta={
        'moment': 'viewed_at',
        'notes_days': {'column': 'view_date', 'models': ['daily_metrics', 'daily_totals', 'daily_pages']},
    },
) }}

with

events as (

    select * from {{ ref('int_events') }} as events
    where event_type = 'page_view' and session_id is not null and {{ in_scope('events') }}

),

starts as (

    select * from {{ ref('int_session_starts') }} as session_starts
    where {{ in_scope('session_starts', 'started_at') }}

),

page_engagement as (

    select * from {{ ref('int_page_engagement') }} as engagement
    where {{ in_scope('engagement', 'first_reported_at') }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

ordered as (

    select
        *,
        row_number() over session as page_number,
        lead(page_path) over session as next_page,
        lead(occurred_at) over session as next_viewed_at,
        -- of views that share an ID, the first gets the engagement
        page_view_id is not null and row_number() over (
            partition by site_id, session_id, page_view_id order by occurred_at, event_id
        ) = 1 as is_first_of_id
    from events
    window session as (partition by site_id, session_id order by occurred_at, event_id)

),

named_engagement as (

    select * from page_engagement
    where page_view_id is not null

),

unnamed_engagement as (

    select * from page_engagement
    where page_view_id is null

),

joined as (

    select
        ---------- ids
        ordered.event_id,
        ordered.site_id,
        ordered.session_id,
        ordered.user_id,
        ordered.page_view_id,

        ---------- page
        ordered.page_host,
        ordered.page_path,
        ordered.page_title,
        ordered.page_number,
        ordered.next_page,
        ordered.page_number = 1 as is_landing,
        ordered.next_viewed_at is null as is_exit,
        ordered.is_anonymous,

        ---------- attention
        coalesce(
            extract(epoch from ordered.next_viewed_at - ordered.occurred_at),
            greatest(named_engagement.time_on_page_seconds, unnamed_engagement.time_on_page_seconds)
        )::numeric(12, 3) as time_on_page_seconds,
        (coalesce(named_engagement.engaged_seconds, 0) + coalesce(unnamed_engagement.engaged_seconds, 0))
        ::numeric(12, 1) as engaged_seconds,
        greatest(named_engagement.max_scroll_percent, unnamed_engagement.max_scroll_percent)::integer
            as max_scroll_percent,

        ---------- where from and what with
        starts.channel,
        starts.device_type,

        ---------- times
        ordered.occurred_at as viewed_at,
        (ordered.occurred_at at time zone coalesce(sites.timezone, 'UTC'))::date as view_date
    from ordered
    inner join starts on ordered.site_id = starts.site_id and ordered.session_id = starts.session_id
    left join named_engagement
        on
            ordered.is_first_of_id
            and ordered.site_id = named_engagement.site_id
            and ordered.session_id = named_engagement.session_id
            and ordered.page_view_id = named_engagement.page_view_id
    left join unnamed_engagement
        on
            ordered.site_id = unnamed_engagement.site_id
            and ordered.session_id = unnamed_engagement.session_id
            and ordered.page_view_sequence = unnamed_engagement.page_view_sequence
    left join sites on ordered.site_id = sites.site_id

)

-- rows of a day are stored together, because queries select days
select * from joined
order by site_id, viewed_at -- noqa: AM06
