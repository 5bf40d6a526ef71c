{{ config(
    unique_key=['site_id', 'user_id', 'period', 'period_start'],
    indexes=[{'columns': ['site_id', 'user_id']}, {'columns': ['site_id', 'period_start']}],
    meta={'built_by': 'visitor', 'with_changed_events': true, 'notes_days': {'column': 'period_start', 'models': ['int_retention']}},
) }}

with

sessions as (

    select * from {{ ref('fct_sessions') }}
    where
        not is_anonymous and not {{ is_cookieless('user_id') }}
        and {{ of_affected_visitors(with_changed_events=true) }}

),

visits as (

    select
        sessions.site_id,
        sessions.user_id,
        spans.period,
        date_trunc(spans.period, sessions.session_date)::date as period_start,
        sum(sessions.revenue) as revenue
    from sessions
    cross join (values ('week'), ('month')) as spans (period)
    group by 1, 2, 3, 4

),

-- The cohort of a visitor is the period of the first session.
final as (

    select
        *,
        min(period_start) over (partition by site_id, user_id, period) as cohort_start
    from visits

)

select * from final
