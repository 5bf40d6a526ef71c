-- Visitors with an archived event whose payload contains one of these fragments. Archived payloads have no index, so all
-- events of the site are read.
select distinct coalesce(e.user_id, s.user_id, 'anonymous:' || coalesce(e.session_id, e.event_id))
from archive.events as e
left join public.sessions as s on e.site_id = s.site_id and e.session_id = s.session_id
where e.site_id = %(site)s and e.payload @> any(%(fragments)s::jsonb[])
