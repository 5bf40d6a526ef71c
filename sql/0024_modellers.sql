-- Room for models that are not part of the product: the schema `custom` of the owner's models, and the
-- privileges of the role `modeller`, for people who develop models in schemas of their own.

create schema if not exists custom;
comment on schema custom is 'dbt: models and seeds of the installation''s owner, from DATA_DIR/custom.';
grant usage on schema custom to analyst, service_role, tilda_privacy;
alter default privileges in schema custom grant select on tables to analyst, service_role;
alter default privileges in schema custom grant select, delete on tables to tilda_privacy;

-- The tables behind views with security_invoker: dbt grants the analyst each table by name, so that the other tables of
-- this schema stay private.
grant usage on schema intermediate to analyst, service_role;

grant usage on schema public, archive, ops, intermediate, marts, ml to modeller;
grant select on public.sites, public.events, archive.events, archive.cold_files to modeller;
-- No policy below covers these tables: a modeller copies their columns and reads no row.
grant select on
ops.watermarks, ops.visitors_to_rebuild, ops.days_to_rebuild, ops.rebuild_days, ops.site_settings to modeller;
grant select on all tables in schema marts, ml to modeller;
alter default privileges in schema marts grant select on tables to modeller;
alter default privileges in schema ml grant select on tables to modeller;

create policy modeller_reads on public.sites for select to modeller using (true);
create policy modeller_reads on public.events for select to modeller using (true);
create policy modeller_reads on archive.events for select to modeller using (true);
create policy modeller_reads on archive.cold_files for select to modeller using (true);
