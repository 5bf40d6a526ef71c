with entries as (
    select funnel_id, sum(entered) as entered
    from marts.funnel_daily
    where site_id = %(site)s and entry_date between %(first)s and %(last)s and step = 1
    group by funnel_id
)
select daily.funnel_name, daily.step, daily.step_name, sum(daily.reached) as reached,
    sum(daily.reached)::double precision / max(entries.entered) as rate
from marts.funnel_daily as daily
inner join entries on daily.funnel_id = entries.funnel_id
where daily.site_id = %(site)s and daily.entry_date between %(first)s and %(last)s
group by daily.funnel_id, daily.funnel_name, daily.step, daily.step_name order by daily.funnel_name, daily.step
