-- Partitions without their part of a partitioned index, with the statements that build and attach the part. An invalid
-- index from an interrupted build is dropped first.
select
    i.indexrelid::regclass::text as index_name,
    case when own.is_valid = false then format('drop index concurrently %I.%I', part.schema_name, part.index_name) end
        as drop_statement,
    case
        when own.is_valid is not true then
            format(
                'create %sindex concurrently %I on %I.%I using %s',
                case when i.indisunique then 'unique ' else '' end,
                part.index_name,
                part.schema_name,
                part.table_name,
                regexp_replace(
                    pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX \S+ ON (ONLY )?\S+ USING ', ''
                )
            )
    end as build_statement,
    format('alter index %s attach partition %I.%I', i.indexrelid::regclass, part.schema_name, part.index_name)
        as attach_statement
from pg_index as i
inner join pg_class as c on i.indexrelid = c.oid
cross join lateral (
    select
        t.oid as table_id,
        n.nspname as schema_name,
        t.relname as table_name,
        left(t.relname || '_' || c.relname, 63) as index_name
    from pg_inherits as h
    inner join pg_class as t on h.inhrelid = t.oid
    inner join pg_namespace as n on t.relnamespace = n.oid
    where h.inhparent = i.indrelid
) as part
left join lateral (
    select b.indisvalid as is_valid
    from pg_index as b
    where b.indexrelid = to_regclass(format('%I.%I', part.schema_name, part.index_name))
) as own on true
where
    c.relkind = 'I' and not i.indisvalid
    and not exists (
        select from pg_inherits as attached
        inner join pg_index as p on attached.inhrelid = p.indexrelid
        where attached.inhparent = i.indexrelid and p.indrelid = part.table_id
    )
order by 1, part.schema_name, part.table_name
