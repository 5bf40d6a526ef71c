-- Counts of requests from pages of other domains than the site's, and closed sites.

-- A closed site accepts no events and keeps its data. When it is reopened, it gets its old key, because its pages still
-- use it.
alter table public.sites
alter column public_key drop not null,
add column closed_key text unique,
add constraint sites_is_open_or_closed check (num_nonnulls(public_key, closed_key) = 1);
comment on column public.sites.public_key is
'Names the site in its snippet; no secret. Null while the site is closed: then no request can name it.';
comment on column public.sites.closed_key is 'The public key of a closed site.';

-- Direct inserts of anon contain the site ID, not the key.
create or replace function ops.site_exists(site text) returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from public.sites as s where s.site_id = site and s.public_key is not null)
$$;

create table ops.refused_origins (
    site_id text not null,
    origin text not null check (length(origin) between 1 and 255),
    day date not null,
    requests bigint not null check (requests > 0),
    last_at timestamptz not null,
    primary key (site_id, origin, day)
);
comment on table ops.refused_origins is
'Requests that carried a site''s key and came from a page of another host, by UTC day. An origin is scheme, host and port.';
comment on column ops.refused_origins.origin is
'As the browser sent it, in lower case; `other` for all beyond the first 100 of a site and day.';
alter table ops.refused_origins enable row level security;
revoke all on ops.refused_origins from public, anon, authenticated, service_role;

create function public.land_refused_origins(batch json) returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    most constant integer := 100;
    today constant date := (now() at time zone 'UTC')::date;
begin
    -- One caller at a time: two that do not see each other's rows would pass the bound together.
    perform pg_advisory_xact_lock(hashtextextended('ops.refused_origins', 0));

    with told as (
        select t.site_id, lower(left(t.origin, 255)) as origin, sum(least(t.requests, 1000000000))::bigint as requests
        from json_to_recordset(batch) as t (site_id text, origin text, requests bigint)
        where
            t.origin <> '' and t.requests > 0
            and exists (select from public.sites as s where s.site_id = t.site_id)
        group by 1, 2
    ),

    ranked as (
        select
            told.site_id,
            told.origin,
            told.requests,
            stored.origin is not null as is_stored,
            row_number() over (
                partition by told.site_id, stored.origin is null order by told.requests desc, told.origin
            ) as place,
            (
                select count(*) from ops.refused_origins as r
                where r.site_id = told.site_id and r.day = today and r.origin <> 'other'
            ) as named
        from told
        left join ops.refused_origins as stored
            on told.site_id = stored.site_id and told.origin = stored.origin and stored.day = today
    )

    insert into ops.refused_origins as r (site_id, origin, day, requests, last_at)
    select
        site_id,
        case when is_stored or named + place <= most then origin else 'other' end,
        today,
        sum(requests),
        now()
    from ranked
    group by 1, 2
    order by 1, 2
    on conflict (site_id, origin, day) do update set
        requests = r.requests + excluded.requests, last_at = greatest(r.last_at, excluded.last_at);
end
$$;
comment on function public.land_refused_origins(json) is
'Adds up requests that were refused for their origin: [{"site_id", "origin", "requests"}]. Unknown sites are ignored; each
site and day names at most 100 origins and counts the rest as "other".';

revoke all on function public.land_refused_origins(json) from public, anon, authenticated;
grant execute on function public.land_refused_origins(json) to tilda_ingest, service_role;
