-- Identities in a person's live events, without identities that too many visitors share, as in int_persons: a placeholder
-- address, which a shop enters for all customers without an address, would lead to other people's orders.
with theirs as (
    select payload
    from public.events
    where
        site_id = %(site)s and user_id = any(%(ids)s)
        and (session_id = any(%(sessions)s::uuid[]) or session_id is null)
    union all
    select payload
    from public.events
    where
        site_id = %(site)s and user_id is null and session_id is null
        and event_id = any(%(anonymous)s::uuid[])
),

said as (
    select distinct part.key as name, part.value
    from theirs
    cross join jsonb_each(
        case when jsonb_typeof(payload -> 'identity') = 'object' then payload -> 'identity' else '{}' end
    ) as part
    where
        part.key in ('external_id', 'email_sha256', 'phone_sha256')
        and jsonb_typeof(part.value) in ('string', 'number') and part.value <> '""'
)

select said.name, said.value
from said
where (
    select count(*)
    from (
        select distinct coalesce(e.user_id, e.session_id::text, e.event_id::text)
        from public.events as e
        where
            e.site_id = %(site)s
            and e.payload @> jsonb_build_object('identity', jsonb_build_object(said.name, said.value))
        limit %(many)s + 1
    ) as visitors
) <= %(many)s
