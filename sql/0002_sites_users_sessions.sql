create table public.sites (
    site_id text primary key check (site_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name text not null,
    domains text [] not null default '{}',
    timezone text not null default 'UTC',
    public_key text not null unique,
    created_at timestamptz not null default now()
);
comment on table public.sites is 'Websites that send events. The public key names a site; it is no secret.';
comment on column public.sites.domains is 'Host names whose pages may send events; a name covers its subdomains.';
comment on column public.sites.timezone is 'IANA time zone in which the days of this site are cut.';

create table public.users (
    site_id text not null,
    user_id text not null check (length(user_id) between 1 and 128),
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    event_count bigint not null default 0,
    updated_at timestamptz not null default now(),
    primary key (site_id, user_id)
);
comment on table public.users is 'One row a visitor (first-party id) of a site, kept by a trigger on public.events.';

create table public.sessions (
    site_id text not null,
    session_id uuid not null,
    user_id text check (length(user_id) between 1 and 128),
    started_at timestamptz not null default now(),
    last_seen_at timestamptz default now(),
    event_count bigint not null default 0,
    landing_page text check (length(landing_page) <= 4096),
    referrer text check (length(referrer) <= 4096),
    utm_source text check (length(utm_source) <= 512),
    utm_medium text check (length(utm_medium) <= 512),
    utm_campaign text check (length(utm_campaign) <= 512),
    utm_term text check (length(utm_term) <= 512),
    utm_content text check (length(utm_content) <= 512),
    device_type text check (length(device_type) <= 64),
    browser text check (length(browser) <= 128),
    os text check (length(os) <= 128),
    is_bot boolean not null default false,
    updated_at timestamptz not null default now(),
    primary key (site_id, session_id)
);
comment on table public.sessions is
'One row a session as the sender named it, kept by a trigger on public.events; marts.sessions holds the modelled ones.';
comment on column public.sessions.last_seen_at is
'Newest activity; null while only page_leave and web_vitals came, which do not count as activity.';
create index sessions_user on public.sessions (site_id, user_id);
create index sessions_started on public.sessions (site_id, started_at);

create function ops.touch_updated_at() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := now();
    return new;
end
$$;

create trigger users_updated_at before update on public.users
for each row execute function ops.touch_updated_at();
create trigger sessions_updated_at before update on public.sessions
for each row execute function ops.touch_updated_at();
