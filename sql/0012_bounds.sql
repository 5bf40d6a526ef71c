-- Limits on what clients can write, mainly for clients that insert without the ingest API; the column click_ids;
-- purchases of unknown amount.
--
-- The constraints are added NOT VALID, which reads no row under the lock. 0014 validates them in another transaction.

-- Lock tables with a lock_timeout that grows. ops.lock_briefly of 0004 always waits 40 ms. On a loaded server, each
-- call that lands events takes longer, so a migration with a fixed timeout would never get the lock.
create function ops.lock_within(tables regclass[], longest_ms integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    one regclass;
    wait_ms double precision := 40;
    pause double precision := 0.1;
    give_up constant timestamptz := clock_timestamp() + interval '10 minutes';
begin
    -- This weaker lock hinders no reader or writer, and makes an autovacuum step aside.
    perform set_config('lock_timeout', '1min', true);
    foreach one in array tables loop
        execute format('lock table only %s in share update exclusive mode', one);
    end loop;
    loop
        begin
            perform set_config('lock_timeout', format('%sms', wait_ms::integer), true);
            foreach one in array tables loop
                execute format('lock table only %s in access exclusive mode', one);
                perform set_config('lock_timeout', '10ms', true);
            end loop;
            return;
        exception when lock_not_available then
            if clock_timestamp() > give_up then
                raise exception using
                    errcode = 'TA002',
                    message = 'A long query or transaction keeps the tables of events busy.',
                    hint = 'Try again when it has ended; pg_stat_activity shows it';
            end if;
            perform pg_sleep(pause * (0.5 + random()));
            pause := least(2 * pause, 5);
            wait_ms := least(1.5 * wait_ms, longest_ms);
        end;
    end loop;
end
$$;
comment on function ops.lock_within(regclass[], integer) is
'ACCESS EXCLUSIVE on these tables. While it is waited for, everybody else waits, at most longest_ms at a time and 10 ms
more for each table after the first. TA002: no chance within ten minutes.';

create or replace function ops.lock_briefly(variadic tables regclass[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    select ops.lock_within(tables, 40)
$$;

-- The only constraint that existing rows may violate. It is a function, because its definition must be identical on the
-- parents and on a table that is restored from a file.
create function ops.add_address_check(target regclass, not_valid boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format(
        $ddl$
        alter table %s
        -- a 6to4 network of /48 would contain a whole IPv4 address
        add constraint events_ip_address_is_network check ((
            ip_address = network(ip_address)
            and masklen(ip_address) <= case family(ip_address) when 4 then 24 else 48 end
            and not (ip_address <<= '2002::/16' and masklen(ip_address) > 40)
        ) is not false) %s
        $ddl$,
        target, case when not_valid then 'not valid' else '' end
    );
end
$$;
comment on function ops.add_address_check(regclass, boolean) is
'Adds the CHECK of ip_address to a table of events whose rows have passed ops.truncate_addresses.';

-- For rows in tables and cold files that clients inserted directly before this constraint existed.
create function ops.truncate_addresses(target regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format(
        $query$
        update %s set ip_address = network(set_masklen(ip_address, least(
            masklen(ip_address),
            case when family(ip_address) = 4 then 24 when ip_address <<= '2002::/16' then 40 else 48 end
        )))
        where
            ip_address <> network(ip_address)
            or masklen(ip_address) > case
                when family(ip_address) = 4 then 24 when ip_address <<= '2002::/16' then 40 else 48
            end
        $query$, target
    );
end
$$;
comment on function ops.truncate_addresses(regclass) is
'Truncates addresses of a table of events to their networks: /24, /48, /40 of 6to4.';

-- Counters of visitors and sessions, as in 0003. The sum is limited, because a client could set a count to the largest
-- bigint; an overflow would reject every batch with this visitor.
create or replace function ops.count_events() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.users as u (site_id, user_id, first_seen_at, last_seen_at, event_count)
    select
        site_id, user_id, min(created_at), max(created_at), count(*)
    from inserted
    where user_id is not null
    group by site_id, user_id
    order by site_id, user_id
    on conflict (site_id, user_id) do update set
        first_seen_at = least(u.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(u.last_seen_at, excluded.last_seen_at),
        event_count = least(u.event_count, 4611686018427387904) + excluded.event_count;

    -- The earliest event describes a session, whatever the order in which its events arrive; of events with one
    -- created_at in a statement, the one with the lowest event_id. A session that a client inserted before any of its
    -- events keeps the client's description.
    with described as (
        insert into public.sessions as s (
            site_id, session_id, user_id, started_at, last_seen_at, event_count, landing_page, referrer,
            utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
        )
        select distinct on (site_id, session_id)
            site_id,
            session_id,
            coalesce(user_id, max(user_id) over w),
            min(created_at) over w,
            max(created_at) filter (where event_type not in ('page_leave', 'web_vitals')) over w,
            count(*) over w,
            page_url, referrer, utm_source, utm_medium, utm_campaign, utm_term, utm_content,
            device_type, browser, os,
            bool_or(is_bot) over w
        from inserted
        where session_id is not null
        window w as (partition by site_id, session_id)
        order by site_id, session_id, created_at, event_id
        on conflict (site_id, session_id) do update set
            landing_page = case
                when s.event_count = 0 then coalesce(s.landing_page, excluded.landing_page)
                when excluded.started_at < s.started_at then excluded.landing_page else s.landing_page
            end,
            referrer = case
                when s.event_count = 0 then coalesce(s.referrer, excluded.referrer)
                when excluded.started_at < s.started_at then excluded.referrer else s.referrer
            end,
            utm_source = case
                when s.event_count = 0 then coalesce(s.utm_source, excluded.utm_source)
                when excluded.started_at < s.started_at then excluded.utm_source else s.utm_source
            end,
            utm_medium = case
                when s.event_count = 0 then coalesce(s.utm_medium, excluded.utm_medium)
                when excluded.started_at < s.started_at then excluded.utm_medium else s.utm_medium
            end,
            utm_campaign = case
                when s.event_count = 0 then coalesce(s.utm_campaign, excluded.utm_campaign)
                when excluded.started_at < s.started_at then excluded.utm_campaign else s.utm_campaign
            end,
            utm_term = case
                when s.event_count = 0 then coalesce(s.utm_term, excluded.utm_term)
                when excluded.started_at < s.started_at then excluded.utm_term else s.utm_term
            end,
            utm_content = case
                when s.event_count = 0 then coalesce(s.utm_content, excluded.utm_content)
                when excluded.started_at < s.started_at then excluded.utm_content else s.utm_content
            end,
            device_type = case
                when s.event_count = 0 then coalesce(s.device_type, excluded.device_type)
                when excluded.started_at < s.started_at then excluded.device_type else s.device_type
            end,
            browser = case
                when s.event_count = 0 then coalesce(s.browser, excluded.browser)
                when excluded.started_at < s.started_at then excluded.browser else s.browser
            end,
            os = case
                when s.event_count = 0 then coalesce(s.os, excluded.os)
                when excluded.started_at < s.started_at then excluded.os else s.os
            end,
            user_id = coalesce(s.user_id, excluded.user_id),
            started_at = least(s.started_at, excluded.started_at),
            last_seen_at = greatest(s.last_seen_at, excluded.last_seen_at),
            event_count = least(s.event_count, 4611686018427387904) + excluded.event_count,
            is_bot = s.is_bot or excluded.is_bot
        returning site_id, session_id, user_id
    )

    insert into ops.shared_sessions (site_id, user_id, session_id)
    select distinct i.site_id, i.user_id, i.session_id
    from inserted as i
    inner join described as d on i.site_id = d.site_id and i.session_id = d.session_id
    where i.user_id <> d.user_id
    order by 1, 2, 3
    on conflict do nothing;
    return null;
end
$$;

-- The limits of the ingest API for event times (ops.sane_time), as a condition.
create function ops.is_recent(moment timestamptz) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select moment between now() - interval '35 days' and now() + interval '25 hours'
$$;
revoke all on function ops.is_recent(timestamptz) from public;
grant execute on function ops.is_recent(timestamptz) to anon;

-- The role authenticated reads and writes all rows. On Supabase, anyone can sign up and becomes "authenticated", so
-- there a role in app_metadata is required, which only the owner of the project can set. Elsewhere the database role is
-- enough.
create function ops.is_team_member() returns boolean
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
revoke all on function ops.is_team_member() from public;
grant execute on function ops.is_team_member() to authenticated;

-- From here on, no other session reads or writes these tables.
do $$
begin
    -- in the lock order of landing, to avoid deadlocks
    perform ops.lock_within(
        array['public.events', 'archive.events']::regclass[]
        || array(
            select inhrelid::regclass from pg_inherits
            where inhparent in ('public.events'::regclass, 'archive.events'::regclass)
            order by inhrelid
        )
        || array['public.users', 'public.sessions', 'public.sites']::regclass[],
        longest_ms => 1000
    );
end
$$;

do $$
declare
    parent regclass;
begin
    foreach parent in array array['public.events', 'archive.events']::regclass[] loop
        execute format(
            $ddl$
            alter table %s
            add column click_ids jsonb,
            add constraint events_click_ids_are_bounded check ((
                jsonb_typeof(click_ids) = 'object' and pg_column_size(click_ids) <= 24576
            ) is not false) not valid,
            drop constraint events_purchase_has_amount,
            add constraint events_purchase_amount_is_sane check ((
                event_type <> 'purchase'
                or coalesce(jsonb_typeof(payload -> 'order'), 'null') = 'null'
                or case jsonb_typeof(payload -> 'order')
                    when 'object' then case coalesce(jsonb_typeof(payload #> '{order,amount}'), 'null')
                        when 'null' then true
                        when 'number' then (payload #> '{order,amount}')::numeric between 0 and 1000000000000
                    end
                end
            ) is true) not valid
            $ddl$, parent
        );
        perform ops.add_address_check(parent, not_valid => true);
        execute format(
            $ddl$
            comment on column %s.click_ids is
            'Click ids of advertising networks, name to value, from page_url or payload.click_ids; null without any.'
            $ddl$, parent
        );
    end loop;
end
$$;

create or replace view archive.all_events
with (security_invoker = true)
as
select * from public.events
union all
select * from archive.events;

-- The role anon may set the columns that a client knows. Counters, IDs and arrival times keep their defaults.
revoke insert on public.users, public.sessions, public.events from anon;
grant insert (site_id, user_id, first_seen_at, last_seen_at) on public.users to anon;
grant insert (
    site_id, session_id, user_id, started_at, last_seen_at, landing_page, referrer,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os
) on public.sessions to anon;
grant insert (
    created_at, client_created_at, sent_at, event_id, session_id, site_id, user_id, event_type, source,
    page_url, page_host, page_path, page_title, referrer, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, click_ids, target_element, target_text,
    device_type, browser, os, ip_address, user_agent, payload
) on public.events to anon;

drop policy anon_inserts on public.users;
create policy anon_inserts on public.users for insert to anon with check (
    ops.site_exists(site_id) and not ops.is_erased(site_id, user_id)
    and ops.is_recent(first_seen_at) and ops.is_recent(last_seen_at)
);
drop policy anon_inserts on public.sessions;
create policy anon_inserts on public.sessions for insert to anon with check (
    ops.site_exists(site_id) and not ops.is_erased(site_id, user_id)
    and ops.is_recent(started_at) and coalesce(ops.is_recent(last_seen_at), true)
);
drop policy anon_inserts on public.events;
create policy anon_inserts on public.events for insert to anon with check (
    ops.site_exists(site_id) and not ops.is_erased(site_id, user_id)
    -- live events must not reach an archived month
    and ops.is_recent(created_at)
    and source = 'direct'
    and octet_length(payload::text) <= 10240
    -- CHECKs limit the other columns. CHECKs for these columns would slow down the API, which validates them itself.
    and (
        length(page_path) > 4096 or length(page_host) > 255 or length(referrer_host) > 255
        or length(utm_source) > 512 or length(utm_medium) > 512 or length(utm_campaign) > 512
        or length(utm_term) > 512 or length(utm_content) > 512
        or length(device_type) > 64 or length(browser) > 128 or length(os) > 128
    ) is not true
);

do $$
declare
    shared text;
begin
    foreach shared in array array['public.sites', 'public.users', 'public.sessions', 'public.events'] loop
        execute format('drop policy team_reads on %s', shared);
        execute format(
            'create policy team on %s to authenticated
            using ((select ops.is_team_member())) with check ((select ops.is_team_member()))', shared
        );
        execute format('grant select, insert, update, delete on %s to authenticated', shared);
    end loop;
end
$$;
grant usage on sequence public.events_id_seq to authenticated;
drop function ops.may_read();
