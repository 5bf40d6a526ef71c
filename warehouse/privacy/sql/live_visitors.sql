-- Visitors with a live event whose payload contains one of these fragments. Uses the index events_payload.
select distinct coalesce(e.user_id, s.user_id, 'anonymous:' || coalesce(e.session_id, e.event_id))
from unnest(%(fragments)s::jsonb[]) as said (fragment)
inner join public.events as e on e.payload @> said.fragment
left join public.sessions as s on e.site_id = s.site_id and e.session_id = s.session_id
where e.site_id = %(site)s
