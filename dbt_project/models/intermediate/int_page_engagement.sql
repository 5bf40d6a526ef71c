{{ config(
    unique_key=['site_id', 'session_id'],
    indexes=[{'columns': ['site_id', 'user_id']}],
    meta={'moment': 'first_reported_at'},
) }}

with

events as (

    select * from {{ ref('int_events') }} as events
    where
        session_id is not null
        and {{ in_scope('events') }}
        and (scroll_percent is not null or engaged_seconds is not null or time_on_page_seconds is not null)

),

-- A page reports its totals each time that it is hidden, so the largest is the latest. A report without a page view ID
-- belongs to the latest page view of its session.
reported as (

    select
        site_id,
        user_id,
        session_id,
        page_view_id,
        case when page_view_id is null then page_view_sequence end as page_view_sequence,
        min(occurred_at) as first_reported_at,
        max(engaged_seconds) as reported_engaged_seconds,
        max(time_on_page_seconds) as reported_time_on_page_seconds,
        max(scroll_percent) as max_scroll_percent
    from events
    group by 1, 2, 3, 4, 5

),

-- A page view may also have reports in sessions that this build does not recompute.
with_earlier_reports as (

    select
        *,
        true as is_in_scope
    from reported
    {{ earlier_reports() }}

),

-- A page that is open when a session ends continues its totals in the next session, which gets the difference.
with_earlier_totals as (

    select
        *,
        coalesce(max(reported_engaged_seconds) over earlier, 0) as earlier_engaged_seconds,
        coalesce(max(reported_time_on_page_seconds) over earlier, 0) as earlier_time_on_page_seconds
    from with_earlier_reports
    window earlier as (
        partition by site_id, user_id, page_view_id order by first_reported_at, session_id
        rows between unbounded preceding and 1 preceding
    )

),

final as (

    select
        site_id,
        user_id,
        session_id,
        page_view_id,
        page_view_sequence,
        first_reported_at,
        reported_engaged_seconds,
        reported_time_on_page_seconds,
        max_scroll_percent,
        case
            when page_view_id is null then reported_engaged_seconds
            else greatest(reported_engaged_seconds - earlier_engaged_seconds, 0)
        end as engaged_seconds,
        case
            when page_view_id is null then reported_time_on_page_seconds
            else greatest(reported_time_on_page_seconds - earlier_time_on_page_seconds, 0)
        end as time_on_page_seconds
    from with_earlier_totals
    where is_in_scope

)

select * from final
