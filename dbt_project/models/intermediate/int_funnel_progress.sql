{{ config(
    unique_key=['site_id', 'entry_id', 'funnel_id', 'step'],
    indexes=[{'columns': ['site_id', 'user_id']}, {'columns': ['site_id', 'entry_date']}],
    meta={
        'moment': 'window_ends_at',
        'notes_days': {'column': 'entry_date', 'models': ['funnel_daily']},
    },
) }}

with

{{ open_entries() }}

events as (

    select * from {{ ref('int_events') }} as events
    where {{ may_reach_a_step('events') }}

),

funnels as (

    select
        *,
        first_value(window_hours) over funnel * interval '1 hour' as time_window,
        first_value(step_order) over funnel = 'strict' as is_strict
    from {{ ref('stg_funnels') }}
    window funnel as (partition by site_id, funnel_id order by step)

),

starts as (

    select * from {{ ref('int_session_starts') }}
    where {{ of_affected_visitors(with_changed_events=true) }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

matched as (

    select
        events.site_id,
        events.user_id,
        events.event_id,
        events.session_id,
        events.occurred_at,
        events.event_rank,
        funnels.funnel_id,
        funnels.step,
        funnels.time_window,
        funnels.is_strict,
        -- one short key: sorting by several texts takes longer
        md5(concat_ws(chr(31), events.site_id, funnels.funnel_id, events.user_id))::uuid as visitor_funnel
    from events
    inner join funnels
        on
            events.event_type = funnels.event_type
            and (funnels.site_id is null or events.site_id = funnels.site_id)
            and (funnels.page_path is null or events.page_path like funnels.page_path)
    where {{ may_reach_a_step_of('funnels', 'events') }}

),

-- An event that matches several steps reaches one of them: the furthest whose preceding step has been reached.
ordered as (

    select
        *,
        row_number() over (
            partition by visitor_funnel order by occurred_at asc, event_rank asc, event_id asc, step desc
        ) as ordinal,
        -- for strict order: the position of the event among those that match any step
        dense_rank() over (partition by visitor_funnel order by occurred_at, event_rank, event_id) as place
    from matched

),

stated as (

    select
        *,
        {{ function_schema() }}.funnel_state(ordinal, occurred_at, step, place, time_window, is_strict) over (
            partition by visitor_funnel order by occurred_at asc, event_rank asc, event_id asc, step desc
            rows between unbounded preceding and current row
        ) as funnel_state
    from ordered

),

reached as (

    select
        *,
        funnel_state[1] as entry_ordinal
    from stated
    where funnel_state[5] = ordinal

),

progress as (

    select
        site_id,
        funnel_id,
        step,
        user_id,
        occurred_at as reached_at,
        first_value(event_id) over entry as entry_id,
        first_value(session_id) over entry as session_id,
        first_value(occurred_at) over entry as entered_at,
        first_value(occurred_at) over entry + time_window as window_ends_at,
        extract(epoch from lead(occurred_at) over entry - occurred_at)::double precision as seconds_to_next
    from reached
    window entry as (partition by visitor_funnel, entry_ordinal order by step)

),

final as (

    select
        progress.site_id,
        progress.funnel_id,
        progress.entry_id,
        progress.step,
        progress.user_id,
        progress.entered_at,
        progress.window_ends_at,
        progress.reached_at,
        progress.seconds_to_next,
        (progress.entered_at at time zone coalesce(sites.timezone, 'UTC'))::date as entry_date,
        coalesce(starts.channel, 'Unassigned') as channel,
        coalesce(starts.device_type, 'unknown') as device_type
    from progress
    left join starts on progress.site_id = starts.site_id and progress.session_id = starts.session_id
    left join sites on progress.site_id = sites.site_id

)

select * from final
