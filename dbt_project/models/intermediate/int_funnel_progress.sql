{{ config(
    unique_key=['site_id', 'entry_id', 'funnel_id', 'step'],
    indexes=[{'columns': ['site_id', 'user_id']}, {'columns': ['site_id', 'entry_date']}],
    meta={'notes_days': {'column': 'entry_date', 'models': ['funnel_daily']}},
) }}

with recursive

funnel_events as not materialized (

    select * from {{ ref('int_funnel_events') }}

),

funnels as (

    select
        funnel_id,
        funnel_name,
        window_hours * interval '1 hour' as time_window,
        step_order = 'strict' as is_strict
    from {{ ref('funnels') }}
    where step = 1

),

starts as (

    select * from {{ ref('int_session_starts') }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

-- A visitor enters with the first event of step 1, and again with the first one after the window has closed.
entries as (

    select * from (
        select distinct on (funnel_events.site_id, funnel_events.funnel_id, funnel_events.user_id)
            funnel_events.site_id,
            funnel_events.funnel_id,
            funnel_events.user_id,
            funnel_events.event_id as entry_id,
            funnel_events.session_id,
            funnel_events.occurred_at as entered_at,
            funnel_events.event_rank,
            funnel_events.place
        from funnel_events
        where funnel_events.step = 1 and {{ of_affected_visitors() }}
        order by
            funnel_events.site_id, funnel_events.funnel_id, funnel_events.user_id,
            funnel_events.occurred_at, funnel_events.event_rank, funnel_events.event_id
    ) as first_entries
    union all
    select
        entries.site_id,
        entries.funnel_id,
        entries.user_id,
        reentry.event_id as entry_id,
        reentry.session_id,
        reentry.occurred_at as entered_at,
        reentry.event_rank,
        reentry.place
    from entries
    inner join funnels on entries.funnel_id = funnels.funnel_id
    cross join lateral (
        select funnel_events.* from funnel_events
        where
            funnel_events.site_id = entries.site_id
            and funnel_events.funnel_id = entries.funnel_id
            and funnel_events.step = 1
            and funnel_events.user_id = entries.user_id
            and funnel_events.occurred_at > entries.entered_at + funnels.time_window
        order by funnel_events.occurred_at, funnel_events.event_rank, funnel_events.event_id
        limit 1
    ) as reentry

),

-- From each step the earliest event that takes the next one.
progress as (

    select
        site_id,
        funnel_id,
        user_id,
        entry_id,
        entered_at,
        1 as step,
        entry_id as event_id,
        entered_at as reached_at,
        event_rank,
        place
    from entries
    union all
    select
        progress.site_id,
        progress.funnel_id,
        progress.user_id,
        progress.entry_id,
        progress.entered_at,
        next_step.step,
        next_step.event_id,
        next_step.occurred_at as reached_at,
        next_step.event_rank,
        next_step.place
    from progress
    inner join funnels on progress.funnel_id = funnels.funnel_id
    cross join lateral (
        select funnel_events.* from funnel_events
        where
            funnel_events.site_id = progress.site_id
            and funnel_events.funnel_id = progress.funnel_id
            and funnel_events.step = progress.step + 1
            and funnel_events.user_id = progress.user_id
            and funnel_events.occurred_at >= progress.reached_at
            and funnel_events.occurred_at <= progress.entered_at + funnels.time_window
            and (funnel_events.occurred_at, funnel_events.event_rank, funnel_events.event_id)
            > (progress.reached_at, progress.event_rank, progress.event_id)
            and (not funnels.is_strict or funnel_events.place = progress.place + 1)
        order by funnel_events.occurred_at, funnel_events.event_rank, funnel_events.event_id
        limit 1
    ) as next_step

),

final as (

    select
        progress.site_id,
        progress.funnel_id,
        progress.entry_id,
        progress.step,
        progress.user_id,
        progress.entered_at,
        progress.reached_at,
        extract(epoch from lead(progress.reached_at) over (
            partition by progress.site_id, progress.funnel_id, progress.entry_id order by progress.step
        ) - progress.reached_at)::double precision as seconds_to_next,
        (progress.entered_at at time zone coalesce(sites.timezone, 'UTC'))::date as entry_date,
        coalesce(starts.channel, 'Unassigned') as channel,
        coalesce(starts.device_type, 'unknown') as device_type
    from progress
    inner join entries
        on
            progress.site_id = entries.site_id
            and progress.funnel_id = entries.funnel_id
            and progress.entry_id = entries.entry_id
    left join starts on entries.site_id = starts.site_id and entries.session_id = starts.session_id
    left join sites on progress.site_id = sites.site_id

)

select * from final
