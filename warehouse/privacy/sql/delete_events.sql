-- Delete events of a site by created_at and event_id, with their claims, and mark their days for a rebuild of the models.
with keys as materialized (
    select * from unnest(%(times)s::timestamptz [], %(event_ids)s::uuid []) as k (created_at, event_id)
),

removed as (
    delete from {table} as e using keys as k
    where e.site_id = %(site)s and e.created_at = k.created_at and e.event_id = k.event_id
    returning e.site_id, e.created_at, e.received_at, e.event_id
),

claims as (
    delete from public.event_claims as c using keys as k
    where c.site_id = %(site)s and c.event_id = k.event_id
    returning c.event_id
),

zone as materialized (
    -- an unknown time zone name means UTC, as in stg_sites
    select coalesce((select z.name from pg_timezone_names as z where z.name = s.timezone), 'UTC') as name
    from public.sites as s
    where s.site_id = %(site)s
),

days as (
    insert into ops.rebuild_days (site_id, event_date)
    select distinct r.site_id, (moment at time zone zone.name)::date
    from removed as r
    cross join zone
    cross join unnest(array[r.created_at, least(r.created_at, r.received_at)]) as moment
    on conflict do nothing
)

select (select count(*) from removed), (select count(*) from claims)
