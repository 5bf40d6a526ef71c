-- No event in Postgres is older than this moment: the start of the oldest month, live or archived, or the oldest event
-- that waits in the default partition.
select
    least(
        min(to_date(substring(c.relname from '^events_(\d{4}_\d{2})$'), 'YYYY_MM'))::timestamp at time zone 'UTC',
        (select min(waiting.created_at) from public.events_default as waiting)
    )
from pg_inherits as i
inner join pg_class as c on i.inhrelid = c.oid
where i.inhparent in ('public.events'::regclass, 'archive.events'::regclass) and c.relkind = 'r'
