-- A lower bound for the time of all events in Postgres: the start of the oldest live or archived month, or the oldest
-- event in the default partition.
select
    least(
        min(to_date(substring(c.relname from '^events_(\d{4}_\d{2})$'), 'YYYY_MM'))::timestamp at time zone 'UTC',
        (select min(waiting.created_at) from public.events_default as waiting)
    )
from pg_inherits as i
inner join pg_class as c on i.inhrelid = c.oid
where i.inhparent in ('public.events'::regclass, 'archive.events'::regclass) and c.relkind = 'r'
