-- IDs that begin with `cookieless.` are made by the public API and live for one day: they are not visitors of
-- public.users, and no client may send one.

create function ops.skip_row() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return null;
end
$$;
revoke all on function ops.skip_row() from public;

-- Lock the tables in the order in which landing locks them, to avoid deadlocks.
do $$
begin
    perform ops.lock_within(array['public.events', 'public.users', 'public.sessions']::regclass[], longest_ms => 1000);
end
$$;

create trigger users_skip_cookieless before insert on public.users
for each row when (starts_with(new.user_id, 'cookieless.')) execute function ops.skip_row();

create policy anon_sends_no_cookieless_id on public.events as restrictive for insert to anon
with check (starts_with(user_id, 'cookieless.') is not true);
create policy anon_sends_no_cookieless_id on public.sessions as restrictive for insert to anon
with check (starts_with(user_id, 'cookieless.') is not true);
