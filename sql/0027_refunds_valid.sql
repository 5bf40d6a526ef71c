-- Complete 0026: validate the constraint. This is a separate transaction, so that writers do not wait for the validation.
-- Earlier custom events with the name `refund` may violate it. Then it stays not validated and binds new events only.

-- This lock does not block writers. Autovacuum releases its lock only after a second, so the timeout is long.
set local lock_timeout = '1min';
do $$
begin
    -- both tables or neither: a month cannot move to a table whose constraint is validated and its own is not
    alter table public.events validate constraint events_refund_names_an_order;
    alter table archive.events validate constraint events_refund_names_an_order;
exception
    when check_violation then
        raise notice 'Earlier events with the name refund name no order; the constraint binds new events only.';
end
$$;
