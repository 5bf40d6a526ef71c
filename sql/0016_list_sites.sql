-- The public API caches the list of all sites, so that requests with an unknown key do not reach Postgres.

create function public.list_sites() returns table (site_id text, public_key text, domains text[], timezone text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.site_id, s.public_key, s.domains, s.timezone
    from public.sites as s
    where s.public_key is not null
    order by s.site_id
$$;
comment on function public.list_sites() is 'All open sites with their public keys, for the public API.';

revoke all on function public.list_sites() from public, anon, authenticated;
grant execute on function public.list_sites() to tilda_ingest, service_role;

-- Processes of version 0.1 call this function until they are restarted.
comment on function public.site_for_key(text) is 'Deprecated: replaced by list_sites(); a later release drops it.';
