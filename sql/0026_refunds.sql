-- A refund names the refunded order. Its amount is positive; without an amount, the complete order was refunded.

do $$
begin
    -- in the lock order of landing, to avoid deadlocks
    perform ops.lock_within(
        array['public.events', 'archive.events']::regclass[]
        || array(
            select inhrelid::regclass from pg_inherits
            where inhparent in ('public.events'::regclass, 'archive.events'::regclass)
            order by inhrelid
        ),
        longest_ms => 1000
    );
end
$$;

-- NOT VALID reads no row under the lock. 0027 validates the constraint in another transaction.
do $$
declare
    parent regclass;
begin
    foreach parent in array array['public.events', 'archive.events']::regclass[] loop
        execute format(
            $ddl$
            alter table %s
            add constraint events_refund_names_an_order check ((
                event_type <> 'refund'
                or (
                    case jsonb_typeof(payload #> '{order,id}')
                        when 'string' then payload #>> '{order,id}' <> ''
                        when 'number' then true
                    end
                    and case coalesce(jsonb_typeof(payload #> '{order,amount}'), 'null')
                        when 'null' then true
                        when 'number' then
                            (payload #> '{order,amount}')::numeric > 0
                            and (payload #> '{order,amount}')::numeric <= 1000000000000
                    end
                )
            ) is true) not valid
            $ddl$, parent
        );
    end loop;
end
$$;
comment on column public.events.source is
'Path into the platform: api, supabase, pixel, webhook, access-log, import, cli, direct.';
