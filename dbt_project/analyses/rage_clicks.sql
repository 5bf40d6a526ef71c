-- Rage clicks of the last 28 days: bursts of at least three clicks of one page view, each three within one second and
-- within 30 CSS pixels. One row for each site, page and element that was hit first, the most frequent first.
-- Run `dbt show --select rage_clicks`, or `dbt compile --select rage_clicks` and the SQL in target/compiled.
with clicks as (

    select
        site_id,
        page_path,
        user_id,
        target_element,
        created_at as clicked_at,
        coalesce(payload ->> 'page_view_id', session_id::text, event_id::text) as page_view,
        (payload #>> '{click,x}')::numeric as x,
        (payload #>> '{click,y}')::numeric as y
    from {{ source('public', 'events') }}
    where
        event_type = 'click'
        and not is_bot
        and created_at >= now() - interval '28 days'

),

compared as (

    select
        *,
        -- null (no previous click) compares as not near
        coalesce(
            clicked_at - lag(clicked_at) over page_view <= interval '1 second'
            and (x - lag(x) over page_view) ^ 2 + (y - lag(y) over page_view) ^ 2 <= 30 ^ 2,
            false
        ) as is_near_previous,
        coalesce(
            clicked_at - lag(clicked_at, 2) over page_view <= interval '1 second'
            and (x - lag(x, 2) over page_view) ^ 2 + (y - lag(y, 2) over page_view) ^ 2 <= 30 ^ 2,
            false
        ) as is_near_second_previous
    from clicks
    window page_view as (partition by site_id, page_view order by clicked_at)

),

marked as (

    select
        *,
        is_near_previous
        and is_near_second_previous
        and lag(is_near_previous) over page_view as ends_three
    from compared
    window page_view as (partition by site_id, page_view order by clicked_at)

),

bursting as (

    select
        *,
        count(*) filter (where not is_near_previous) over (
            partition by site_id, page_view order by clicked_at rows unbounded preceding
        ) as run,
        bool_or(ends_three) over (
            partition by site_id, page_view order by clicked_at rows between current row and 2 following
        ) as is_in_burst
    from marked

),

bursts as (

    select
        site_id,
        page_view,
        run,
        min(page_path) as page_path,
        min(user_id) as user_id,
        (array_agg(target_element order by clicked_at))[1] as target_element,
        count(*) as clicks,
        max(clicked_at) as last_at
    from bursting
    where is_in_burst
    group by site_id, page_view, run

)

select
    site_id,
    page_path,
    target_element,
    count(*) as bursts,
    sum(clicks)::bigint as clicks,
    count(distinct user_id) as visitors,
    max(last_at) as last_at
from bursts
group by site_id, page_path, target_element
order by bursts desc, visitors desc, site_id asc, page_path asc, target_element asc
