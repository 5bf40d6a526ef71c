-- Mark the days of these times for a rebuild of the models.
with zone as materialized (
    -- an unknown time zone name means UTC, as in stg_sites
    select coalesce((select z.name from pg_timezone_names as z where z.name = s.timezone), 'UTC') as name
    from public.sites as s
    where s.site_id = %(site)s
)

insert into ops.rebuild_days (site_id, event_date)
select distinct %(site)s, (moment at time zone zone.name)::date
from unnest(%(moments)s::timestamptz[]) as moment
cross join zone
on conflict do nothing
