-- Collect the visitors and sessions of a month whose rows retention has deleted.
create temporary table missing_users on commit drop as
select e.site_id, e.user_id, min(e.created_at) as first_seen_at, max(e.created_at) as last_seen_at, count(*) as event_count
from {month} as e
where
    e.user_id is not null
    and not exists (select from public.users as u where u.site_id = e.site_id and u.user_id = e.user_id)
group by e.site_id, e.user_id;

create temporary table missing_sessions on commit drop as
select d.*
from (
    -- one array for each session: an array of the complete month could exceed 1 GB, the limit of a value
    select array_agg(ops.session_event(row(e.*)::public.events)) as events
    from {month} as e
    where
        e.session_id is not null
        and not exists (select from public.sessions as s where s.site_id = e.site_id and s.session_id = e.session_id)
    group by e.site_id, e.session_id
) as missing
cross join lateral ops.describe_sessions(missing.events) as d;

create temporary table missing_shared_sessions on commit drop as
select distinct e.site_id, e.user_id, e.session_id
from {month} as e
inner join missing_sessions as s on e.site_id = s.site_id and e.session_id = s.session_id
where e.user_id <> s.user_id;
