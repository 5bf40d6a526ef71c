{{ config(
    materialized='table',
    indexes=[{'columns': ['site_id', 'period', 'cohort_start', 'periods_later'], 'unique': true}],
) }}

with

retention as (

    select * from {{ ref('int_retention') }}

),

daily_totals as (

    select * from {{ ref('daily_totals') }}

),

returned as (

    select
        *,
        case
            when period = 'week' then (period_start - cohort_start) / 7
            else
                (extract(year from period_start) - extract(year from cohort_start)) * 12
                + extract(month from period_start) - extract(month from cohort_start)
        end::integer as periods_later
    from retention

),

sizes as (

    select
        site_id,
        period,
        cohort_start,
        visitors as cohort_size
    from returned
    where periods_later = 0

),

newest as (

    select
        site_id,
        max(date) as newest_date
    from daily_totals
    where sessions > 0
    group by 1

),

-- A period in which nobody came back has a row too, up to the newest one of the site.
grid as (

    select
        sizes.site_id,
        sizes.period,
        sizes.cohort_start,
        sizes.cohort_size,
        ages.age::integer as periods_later,
        case
            when sizes.period = 'week' then sizes.cohort_start + 7 * ages.age::integer
            else (sizes.cohort_start + make_interval(months => ages.age::integer))::date
        end as period_start,
        newest.newest_date
    from sizes
    inner join newest on sizes.site_id = newest.site_id
    cross join lateral generate_series(
        0,
        case
            when sizes.period = 'week' then (newest.newest_date - sizes.cohort_start) / 7
            else
                (extract(year from newest.newest_date) - extract(year from sizes.cohort_start)) * 12
                + extract(month from newest.newest_date) - extract(month from sizes.cohort_start)
        end::integer
    ) as ages (age)

),

joined as (

    select
        grid.site_id,
        grid.period,
        grid.cohort_start,
        grid.periods_later,
        grid.period_start,
        grid.cohort_size,
        coalesce(returned.visitors, 0) as visitors,
        coalesce(returned.visitors, 0) / grid.cohort_size::double precision as retention_rate,
        coalesce(returned.revenue, 0)::numeric(18, 2) as revenue,
        -- the site's newest day lies in the period: it is not over
        case
            when grid.period = 'week' then grid.period_start + 7
            else (grid.period_start + interval '1 month')::date
        end > grid.newest_date as is_incomplete
    from grid
    left join returned
        on
            grid.site_id = returned.site_id
            and grid.period = returned.period
            and grid.cohort_start = returned.cohort_start
            and grid.periods_later = returned.periods_later

)

select * from joined
