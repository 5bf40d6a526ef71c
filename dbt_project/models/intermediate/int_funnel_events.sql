{{ config(unique_key=['site_id', 'user_id', 'funnel_id', 'step', 'event_id'], indexes=[
    {'columns': ['site_id', 'user_id', 'funnel_id', 'step', 'occurred_at', 'event_rank', 'event_id'], 'unique': true},
]) }}

with

events as (

    select * from {{ ref('int_events') }}
    where {{ of_affected_visitors() }}

),

funnels as (

    select * from {{ ref('funnels') }}

),

matched as (

    select
        events.site_id,
        funnels.funnel_id,
        funnels.step,
        events.user_id,
        events.event_id,
        events.session_id,
        events.occurred_at,
        events.event_rank,
        funnels.step_order
    from events
    inner join funnels
        on
            events.event_type = funnels.event_type
            and (funnels.site_id is null or events.site_id = funnels.site_id)
            and (funnels.page_path is null or events.page_path like funnels.page_path)

),

-- Where order is strict, the place of an event among those of the visitor that take any step.
positions as (

    select
        site_id,
        funnel_id,
        user_id,
        event_id,
        row_number() over (
            partition by site_id, funnel_id, user_id order by occurred_at, event_rank, event_id
        ) as place
    from (
        select distinct
            site_id,
            funnel_id,
            user_id,
            event_id,
            occurred_at,
            event_rank
        from matched
        where
            funnel_id in (
                select funnels.funnel_id from funnels
                where funnels.step = 1 and funnels.step_order = 'strict'
            )
    ) as steps_taken

),

final as (

    select
        matched.site_id,
        matched.funnel_id,
        matched.step,
        matched.user_id,
        matched.event_id,
        matched.session_id,
        matched.occurred_at,
        matched.event_rank,
        positions.place
    from matched
    left join positions
        on
            matched.site_id = positions.site_id
            and matched.funnel_id = positions.funnel_id
            and matched.user_id = positions.user_id
            and matched.event_id = positions.event_id

)

select * from final
