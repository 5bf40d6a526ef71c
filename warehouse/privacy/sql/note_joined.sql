-- Mark the days of the person's events for a rebuild of the models; the models correct clocks, so these days may differ
-- from those of created_at. Also mark the visitors who share a session, an order or an identity with the person.
with zone as materialized (
    -- an unknown time zone name means UTC, as in stg_sites
    select coalesce((select z.name from pg_timezone_names as z where z.name = s.timezone), 'UTC') as name
    from public.sites as s
    where s.site_id = %(site)s
),

days as (
    insert into ops.rebuild_days (site_id, event_date)
    select distinct e.site_id, (e.occurred_at at time zone zone.name)::date
    from intermediate.int_events_sessionised as e
    cross join zone
    where e.site_id = %(site)s and e.user_id = any(%(ids)s)
    on conflict do nothing
)

insert into ops.visitors_to_rebuild (site_id, user_id)
select distinct others.site_id, others.user_id
from intermediate.int_visitor_links as theirs
inner join intermediate.int_visitor_links as others on theirs.site_id = others.site_id and theirs.link = others.link
where theirs.site_id = %(site)s and theirs.user_id = any(%(ids)s) and not others.user_id = any(%(ids)s)
on conflict do nothing
