-- Settings of the collector for each site. /collector.js contains them.

alter table public.sites
add column collector jsonb not null default '{}',
add constraint sites_collector_is_bounded check ((
    jsonb_typeof(collector) = 'object' and pg_column_size(collector) <= 16384
) is true);
comment on column public.sites.collector is
'Settings of the collector that differ from the defaults; warehouse/sites/collector.py names and validates them.';

-- Processes of older releases select their columns by name, so the new column does not affect them.
drop function public.list_sites();
create function public.list_sites() returns table (
    site_id text, public_key text, domains text[], timezone text, collector jsonb
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.site_id, s.public_key, s.domains, s.timezone, s.collector
    from public.sites as s
    where s.public_key is not null
    order by s.site_id
$$;
comment on function public.list_sites() is
'All open sites with their public keys and collector settings, for the public API.';

revoke all on function public.list_sites() from public, anon, authenticated;
grant execute on function public.list_sites() to tilda_ingest, service_role;
