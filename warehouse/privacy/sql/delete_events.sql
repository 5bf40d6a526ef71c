-- Removes events by their keys, with their claims, and asks the models to build their days again.
with keys as materialized (
    select * from unnest(%(times)s::timestamptz [], %(event_ids)s::uuid []) as k (created_at, event_id)
),

removed as (
    delete from {table} as e using keys as k
    where e.created_at = k.created_at and e.event_id = k.event_id
    returning e.site_id, e.created_at, e.received_at, e.event_id
),

claims as (
    delete from public.event_claims as c using keys as k
    where c.event_id = k.event_id
    returning c.event_id
),

days as (
    insert into ops.rebuild_days (site_id, event_date)
    select distinct r.site_id, (moment at time zone coalesce(s.timezone, 'UTC'))::date
    from removed as r
    cross join unnest(array[r.created_at, least(r.created_at, r.received_at)]) as moment
    left join public.sites as s on r.site_id = s.site_id
    on conflict do nothing
)

select (select count(*) from removed), (select count(*) from claims)
