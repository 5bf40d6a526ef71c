-- Erasing a person: unfinished erasures, the audit log, and the days that the models must rebuild.

create table ops.erasures (
    erasure_id uuid primary key default gen_random_uuid(),
    site_id text not null,
    requested_at timestamptz not null default now(),
    finished_at timestamptz,
    removed jsonb not null default '{}',
    person jsonb,
    check ((finished_at is null) = (person is not null))
);
comment on table ops.erasures is
'Who was erased stays unknown: when, on which site, and how much of it by place. Until it is finished, person names the
ids, so that an erasure that was cut short can go on.';
create unique index erasures_under_way on ops.erasures (erasure_id) where finished_at is null;

create table ops.rebuild_days (
    site_id text not null,
    event_date date not null,
    requested_at timestamptz not null default now(),
    primary key (site_id, event_date)
);
comment on table ops.rebuild_days is
'Days in the time zone of the site whose events changed behind the watermark: built again by the models, then removed.';

-- Drops scores of erased visitors: a scoring that read its features before the erasure must not bring them back.
create function ops.drop_erased_scores() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from ops.erased_visitors) then
        delete from ml.propensity_scores as s
        using inserted as i, ops.erasure_key as k, ops.erased_visitors as e
        where
            s.site_id = i.site_id and s.target = i.target and s.as_of = i.as_of and s.user_id = i.user_id
            and e.visitor_hash = ops.visitor_hash(i.site_id, i.user_id, k.inner_key, k.outer_key);
    end if;
    return null;
end
$$;

create trigger propensity_scores_drop_erased after insert on ml.propensity_scores
referencing new table as inserted
for each statement execute function ops.drop_erased_scores();

alter table ops.erasures enable row level security;
alter table ops.rebuild_days enable row level security;
revoke all on ops.erasures, ops.rebuild_days from public, anon, authenticated;
revoke all on function ops.drop_erased_scores() from public, anon, authenticated;

-- The login of the privacy calls: it may read and delete a person's rows, and may not change events.
alter role tilda_privacy set statement_timeout = '10min';
grant usage on schema public, ops, archive, intermediate, marts, ml to tilda_privacy;
grant select on public.sites to tilda_privacy;
grant select, delete on
public.users, public.sessions, public.events, public.event_claims, public.rejected_events, archive.events,
ops.shared_sessions to tilda_privacy;
grant insert, update on public.sessions to tilda_privacy; -- a session shared with somebody else is described anew
grant select, insert, update, delete on archive.cold_files, archive.files_to_delete to tilda_privacy;
grant select on archive.all_events to tilda_privacy;
grant select, insert on ops.erased_visitors to tilda_privacy;
grant select on ops.erasure_key to tilda_privacy;
grant select, insert, update on ops.erasures to tilda_privacy;
grant select, insert on ops.rebuild_days to tilda_privacy;
grant select on all tables in schema ml to tilda_privacy;
grant delete on ml.propensity_scores to tilda_privacy;
grant execute on function ops.visitor_hash(text, text, bytea, bytea) to tilda_privacy;

do $$
declare
    open_to_it text;
    schema_name text;
begin
    foreach open_to_it in array array[
        'public.sites', 'public.users', 'public.sessions', 'public.events', 'public.event_claims',
        'public.rejected_events', 'archive.events', 'archive.cold_files',
        'archive.files_to_delete', 'ops.erased_visitors', 'ops.erasure_key',
        'ops.shared_sessions', 'ops.erasures', 'ops.rebuild_days'
    ] loop
        execute format('create policy privacy on %s to tilda_privacy using (true) with check (true)', open_to_it);
    end loop;
    foreach schema_name in array array['intermediate', 'marts'] loop
        execute format('grant select, delete on all tables in schema %I to tilda_privacy', schema_name);
        execute format(
            'alter default privileges in schema %I grant select, delete on tables to tilda_privacy', schema_name
        );
    end loop;
end
$$;
