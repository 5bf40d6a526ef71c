-- Privileges and row-level security. anon may only insert, authenticated may read, and the public API's login may only
-- execute its functions.

create function ops.site_exists(site text) returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from public.sites as s where s.site_id = site)
$$;

create function ops.is_erased(site text, visitor text) returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from ops.erased_visitors as e
        where e.visitor_hash = (
            select ops.visitor_hash(site, visitor, k.inner_key, k.outer_key) from ops.erasure_key as k
        )
    )
$$;

-- On Supabase anyone may sign up and become "authenticated", so reading also needs a role in app_metadata, which only
-- the project's owner can set. On other servers the database role is enough.
create function ops.may_read() returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        to_regnamespace('auth') is null
        or coalesce(
            nullif(current_setting('request.jwt.claims', true), '')::jsonb #>> '{app_metadata,role}', ''
        ) in ('analyst', 'admin', 'owner')
$$;

alter table public.sites enable row level security;
alter table public.users enable row level security;
alter table public.sessions enable row level security;
alter table public.events enable row level security;
alter table public.event_claims enable row level security;
alter table public.rejected_events enable row level security;
alter table archive.events enable row level security;
alter table archive.cold_files enable row level security;
alter table ops.watermarks enable row level security;
alter table ops.months enable row level security;
alter table ops.erased_visitors enable row level security;
alter table ops.erasure_key enable row level security;
alter table ops.shared_sessions enable row level security;

revoke all on all tables in schema public, archive, ops from public, anon, authenticated, service_role;
revoke all on all sequences in schema public from public, anon, authenticated, service_role;
revoke all on all functions in schema ops from public, anon, authenticated;
revoke all on function public.site_for_key(text), public.land_events(json) from public, anon, authenticated;

grant insert on public.users, public.sessions, public.events to anon;
grant usage on sequence public.events_id_seq to anon;
grant execute on function ops.site_exists(text), ops.is_erased(text, text) to anon;

create policy anon_inserts on public.users for insert to anon with check (
    ops.site_exists(site_id) and not ops.is_erased(site_id, user_id)
);
create policy anon_inserts on public.sessions for insert to anon with check (
    ops.site_exists(site_id) and not ops.is_erased(site_id, user_id)
);
create policy anon_inserts on public.events for insert to anon with check (
    ops.site_exists(site_id) and not ops.is_erased(site_id, user_id)
    -- direct clients have the API's bounds on time: no live event reaches an archived month
    and created_at between now() - interval '35 days' and now() + interval '25 hours'
    and received_at between now() - interval '1 minute' and now()
    and loaded_at = now()
);

grant select on public.sites, public.users, public.sessions, public.events to authenticated;
grant execute on function ops.may_read() to authenticated;
create policy team_reads on public.sites for select to authenticated using ((select ops.may_read()));
create policy team_reads on public.users for select to authenticated using ((select ops.may_read()));
create policy team_reads on public.sessions for select to authenticated using ((select ops.may_read()));
create policy team_reads on public.events for select to authenticated using ((select ops.may_read()));

grant select, insert, update, delete on all tables in schema public, archive to service_role;
grant usage on sequence public.events_id_seq to service_role;
grant execute on function public.site_for_key(text), public.land_events(json) to service_role;

grant execute on function public.site_for_key(text), public.land_events(json) to tilda_ingest;

-- Revoke what the grants above gave on partitions.
do $$
begin
    perform ops.close_partition(c.oid::regclass)
    from pg_inherits as i
    inner join pg_class as c on c.oid = i.inhrelid
    where i.inhparent in ('public.events'::regclass, 'archive.events'::regclass) and c.relkind = 'r';
end
$$;
