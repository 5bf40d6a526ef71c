-- Keys of a person's archived events. Uses the index events_user.
select created_at, event_id
from archive.events
where site_id = %(site)s and user_id = any(%(ids)s)
union
select created_at, event_id
from archive.events
where
    site_id = %(site)s and user_id is null
    and (
        session_id = any(%(own)s::uuid[])
        or event_id = any(%(anonymous)s::uuid[])
        or payload @> any(%(identities)s::jsonb[])
    )
