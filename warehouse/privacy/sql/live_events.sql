-- Keys of a person's live events. Each branch uses an index: the first two events_session, the next two
-- events_without_session, the last events_payload.
select created_at, event_id
from public.events
where site_id = %(site)s and session_id = any(%(sessions)s::uuid[]) and user_id = any(%(ids)s)
union
select created_at, event_id
from public.events
where site_id = %(site)s and session_id = any(%(own)s::uuid[]) and user_id is null
union
select created_at, event_id
from public.events
where site_id = %(site)s and session_id is null and user_id = any(%(ids)s)
union
select created_at, event_id
from public.events
where
    %(anonymous)s::uuid[] <> '{}' and site_id = %(site)s and session_id is null and user_id is null
    and event_id = any(%(anonymous)s::uuid[])
union
select e.created_at, e.event_id
from unnest(%(identities)s::jsonb[]) as said (identity)
inner join public.events as e on e.payload @> said.identity
where e.site_id = %(site)s and e.user_id is null
