-- Schemas and default privileges.

create schema if not exists ops;
create schema if not exists archive;
create schema if not exists staging;
create schema if not exists intermediate;
create schema if not exists marts;
create schema if not exists ml;

comment on schema ops is 'Machinery of the platform: partition functions, watermarks, migration records.';
comment on schema archive is 'Months that left public.events, and the list of cold files.';
comment on schema staging is 'dbt: one model for each source. Private.';
comment on schema intermediate is 'dbt: steps between staging and marts. Private.';
comment on schema marts is 'dbt: the tables that analysts and BI tools read.';
comment on schema ml is 'Model versions and propensity scores.';

-- Revoke every default privilege: Supabase grants some. Later migrations grant what each role needs by name.
alter default privileges in schema public revoke all on tables from public;
alter default privileges in schema public revoke all on tables from anon, authenticated;
alter default privileges in schema public revoke all on sequences from anon, authenticated;
alter default privileges in schema public revoke all on functions from anon, authenticated;
alter default privileges revoke execute on functions from public;

grant usage on schema public to anon, authenticated, service_role, tilda_ingest;
grant usage on schema ops, archive, ml, marts to service_role;
grant usage on schema marts, ml to analyst;

-- Analysts can read each table that dbt or ml creates later.
alter default privileges in schema marts grant select on tables to analyst, service_role;
alter default privileges in schema ml grant select on tables to analyst, service_role;
