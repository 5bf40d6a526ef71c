-- The secret from which the public API computes the IDs of cookieless visitors. A new one is created each day (UTC), and
-- without the old one, nobody can tell which IDs of two days belong to the same visitor.

-- Unlogged: the salts are not written to the WAL, so that WAL archives, physical backups and replicas do not contain
-- them. After a crash of Postgres the table is empty, and the day gets another salt.
create unlogged table ops.daily_salts (
    day date primary key,
    salt bytea not null check (length(salt) = 32)
);
comment on table ops.daily_salts is
'The secret of each day (UTC) for the IDs of cookieless visitors; deleted when the day is over, and never backed up.';
alter table ops.daily_salts enable row level security;
revoke all on ops.daily_salts from public, anon, authenticated, service_role;

create function ops.salt_at(moment timestamptz) returns table (salt bytea, valid_seconds double precision)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    today constant date := (moment at time zone 'UTC')::date;
begin
    select d.salt into salt from ops.daily_salts as d where d.day = today;
    if not found then
        -- gen_random_uuid takes 122 random bits from the operating system's secure generator
        insert into ops.daily_salts (day, salt)
        values (today, sha256(
            uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
        ))
        on conflict do nothing;
        delete from ops.daily_salts as d where d.day < today;
        -- another transaction may have inserted the salt at the same time
        select d.salt into strict salt from ops.daily_salts as d where d.day = today;
    end if;
    valid_seconds := extract(epoch from (today + 1)::timestamp at time zone 'UTC' - moment);
    return next;
end
$$;
comment on function ops.salt_at(timestamptz) is
'The salt of the day (UTC) of a moment, created on the first call of the day, and the seconds until the day ends. Salts of
earlier days are deleted. Only the owner may choose the moment.';

create function public.daily_salt() returns table (salt bytea, valid_seconds double precision)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select * from ops.salt_at(clock_timestamp())
$$;
comment on function public.daily_salt() is
'Today''s salt for the IDs of cookieless visitors and the seconds until it expires, for the public API.';

revoke all on function ops.salt_at(timestamptz) from public;
revoke all on function public.daily_salt() from public, anon, authenticated, service_role;
grant execute on function public.daily_salt() to tilda_ingest;
