-- Lands rows of users and sessions that a Supabase client upserts, through the public API's login.

-- The sender's time if it lies within the bounds for events, else now.
create function ops.sane_time(told timestamptz) returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case when told between now() - interval '35 days' and now() + interval '25 hours' then told else now() end
$$;
revoke all on function ops.sane_time(timestamptz) from public;

create function public.land_profiles(kind text, site text, batch json) returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if kind = 'users' then
        insert into public.users (site_id, user_id, first_seen_at, last_seen_at)
        select
            site,
            p.user_id,
            least(min(ops.sane_time(p.first_seen_at)), max(ops.sane_time(p.last_seen_at))),
            greatest(min(ops.sane_time(p.first_seen_at)), max(ops.sane_time(p.last_seen_at)))
        from json_to_recordset(batch) as p (user_id text, first_seen_at timestamptz, last_seen_at timestamptz)
        where not ops.is_erased(site, p.user_id)
        group by p.user_id
        order by p.user_id
        on conflict do nothing;
    elsif kind = 'sessions' then
        insert into public.sessions as s (
            site_id, session_id, user_id, started_at, last_seen_at, landing_page, referrer,
            utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os
        )
        select distinct on (p.session_id)
            site,
            p.session_id,
            p.user_id,
            least(ops.sane_time(p.started_at), ops.sane_time(p.last_seen_at)),
            greatest(ops.sane_time(p.started_at), ops.sane_time(p.last_seen_at)),
            p.landing_page, p.referrer, p.utm_source, p.utm_medium, p.utm_campaign, p.utm_term, p.utm_content,
            p.device_type, p.browser, p.os
        from json_to_recordset(batch) as p (
            session_id uuid, user_id text, started_at timestamptz, last_seen_at timestamptz,
            landing_page text, referrer text,
            utm_source text, utm_medium text, utm_campaign text, utm_term text, utm_content text,
            device_type text, browser text, os text
        )
        where not ops.is_erased(site, p.user_id)
        order by p.session_id
        on conflict (site_id, session_id) do update set
            user_id = coalesce(s.user_id, excluded.user_id),
            landing_page = coalesce(s.landing_page, excluded.landing_page),
            referrer = coalesce(s.referrer, excluded.referrer),
            utm_source = coalesce(s.utm_source, excluded.utm_source),
            utm_medium = coalesce(s.utm_medium, excluded.utm_medium),
            utm_campaign = coalesce(s.utm_campaign, excluded.utm_campaign),
            utm_term = coalesce(s.utm_term, excluded.utm_term),
            utm_content = coalesce(s.utm_content, excluded.utm_content),
            device_type = coalesce(s.device_type, excluded.device_type),
            browser = coalesce(s.browser, excluded.browser),
            os = coalesce(s.os, excluded.os);
    else
        raise exception 'no profiles of kind %', kind;
    end if;
end
$$;
comment on function public.land_profiles(text, text, json) is
'Inserts sessions or users of a site, as a client tells of them. A known row is completed where it is empty.';

revoke all on function public.land_profiles(text, text, json) from public, anon, authenticated;
grant execute on function public.land_profiles(text, text, json) to tilda_ingest, service_role;
