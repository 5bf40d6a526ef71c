-- First and last time of a person's events, and the order numbers, from the keys of the events.
select
    min(e.created_at),
    max(e.created_at),
    array_agg(distinct coalesce(
        e.payload #>> '{order,id}', e.payload #>> '{form,tranid}', e.event_id::text
    )) filter (where e.event_type = 'purchase')
from unnest(%(times)s::timestamptz[], %(event_ids)s::uuid[]) as k (created_at, event_id)
inner join archive.all_events as e on k.created_at = e.created_at and k.event_id = e.event_id
where e.site_id = %(site)s
