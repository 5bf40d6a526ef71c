-- Puts the days of these moments on the models' work list.
insert into ops.rebuild_days (site_id, event_date)
select distinct s.site_id, (moment at time zone s.timezone)::date
from unnest(%(moments)s::timestamptz[]) as moment
cross join public.sites as s
where s.site_id = %(site)s
on conflict do nothing
