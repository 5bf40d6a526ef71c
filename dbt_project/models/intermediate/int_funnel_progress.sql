{{ config(
    unique_key=['site_id', 'entry_id', 'funnel_id', 'step'],
    indexes=[{'columns': ['site_id', 'user_id', 'window_ends_at']}, {'columns': ['site_id', 'entry_date']}],
    meta={
        'moment': 'window_ends_at',
        'notes_days': {'column': 'entry_date', 'models': ['funnel_daily']},
    },
) }}

with
{% if is_partial() %}
-- Entries whose window ends after `since` may reach further steps: they are computed again from the entry on.
visitors as (

    select
        affected.site_id,
        affected.user_id,
        affected.since,
        least(affected.since, min(stored.entered_at)) as recomputed_from
    from {{ ref('int_affected_visitors') }} as affected
    left join {{ this }} as stored
        on
            affected.site_id = stored.site_id
            and affected.user_id = stored.user_id
            and affected.since <= stored.window_ends_at
    where affected.since < 'infinity'
    group by affected.site_id, affected.user_id, affected.since

),

open_entries as (

    select
        stored.site_id,
        stored.user_id,
        stored.funnel_id,
        min(stored.entered_at) as entered_at
    from {{ this }} as stored
    where {{ in_scope('stored', 'window_ends_at') }}
    group by 1, 2, 3

),
{% endif %}
events as (

    select events.*
    {%- if is_partial() %}, visitors.since{% endif %}
    from {{ ref('int_events') }} as events
    {%- if is_partial() %}
    inner join visitors
        on
            events.site_id = visitors.site_id
            and events.user_id = visitors.user_id
            and events.occurred_at >= visitors.recomputed_from
    {%- endif %}

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
    {%- if is_partial() %}
    left join open_entries
        on
            events.site_id = open_entries.site_id
            and events.user_id = open_entries.user_id
            and funnels.funnel_id = open_entries.funnel_id
    where events.occurred_at >= least(events.since, open_entries.entered_at)
    {%- endif %}

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
