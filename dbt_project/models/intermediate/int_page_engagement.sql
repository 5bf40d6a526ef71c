{{ config(unique_key=['site_id', 'session_id'], indexes=[{'columns': ['site_id', 'user_id']}]) }}

with

events as (

    select * from {{ ref('int_events') }}
    where
        session_id is not null
        and {{ of_affected_visitors() }}
        and (scroll_percent is not null or engaged_seconds is not null or time_on_page_seconds is not null)

),

-- A page reports its totals each time that it is hidden: the largest is the last. A page that names no view belongs to
-- the latest view of its session.
pieces as (

    select
        site_id,
        user_id,
        session_id,
        page_view_id,
        case when page_view_id is null then page_view_sequence end as page_view_sequence,
        min(occurred_at) as first_reported_at,
        max(engaged_seconds) as engaged_seconds,
        max(time_on_page_seconds) as time_on_page_seconds,
        max(scroll_percent) as max_scroll_percent
    from events
    group by 1, 2, 3, 4, 5

),

-- A page left open over the end of a session goes on counting: the later session has only what came on top.
final as (

    select
        site_id,
        user_id,
        session_id,
        page_view_id,
        page_view_sequence,
        max_scroll_percent,
        case
            when page_view_id is null then engaged_seconds
            else greatest(engaged_seconds - coalesce(max(engaged_seconds) over earlier, 0), 0)
        end as engaged_seconds,
        case
            when page_view_id is null then time_on_page_seconds
            else greatest(time_on_page_seconds - coalesce(max(time_on_page_seconds) over earlier, 0), 0)
        end as time_on_page_seconds
    from pieces
    window earlier as (
        partition by site_id, user_id, page_view_id order by first_reported_at, session_id
        rows between unbounded preceding and 1 preceding
    )

)

select * from final
