-- Pending work of the incremental models. dbt reads and empties these tables; an erasure adds rows.

alter table ops.watermarks add column build bigint not null default 0;
comment on column ops.watermarks.build is
'Number of the newest build whose affected visitors the model has taken in; they are listed until every model has.';

create table ops.visitors_to_rebuild (
    site_id text not null,
    user_id text not null,
    primary key (site_id, user_id)
);
comment on table ops.visitors_to_rebuild is
'Visitors that the next build works out anew, with all who share a session, an order or an identity with them, though
no event of theirs came: their site''s settings changed, or one they were joined with was erased.';

-- A log without a unique key: a day that is added while a build works on it must be built again.
create table ops.days_to_rebuild (
    id bigint generated always as identity primary key,
    model text not null,
    site_id text not null,
    day date not null,
    is_taken boolean not null default false
);
comment on table ops.days_to_rebuild is 'Days of a site that a daily model works out anew in the next build.';
comment on column ops.days_to_rebuild.is_taken is 'Whether the build in progress works on it.';

create table ops.site_settings (
    site_id text primary key,
    settings text not null
);
comment on table ops.site_settings is
'Hash of the time zone and the domains with which the models of each site were built; another one rebuilds the site.';

alter table ops.visitors_to_rebuild enable row level security;
alter table ops.days_to_rebuild enable row level security;
alter table ops.site_settings enable row level security;
revoke all on ops.visitors_to_rebuild, ops.days_to_rebuild, ops.site_settings from public, anon, authenticated;

-- An erasure requests a rebuild of the visitors that were joined with the erased person.
grant select, insert on ops.visitors_to_rebuild to tilda_privacy;
create policy privacy on ops.visitors_to_rebuild to tilda_privacy using (true) with check (true);
