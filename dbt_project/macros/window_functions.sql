{#
    Postgres functions that plain SQL lacks. Each run creates them first, in the schema `function_schema()`.

    session_state: a window aggregate that carries the session in progress from event to event. Whether an event starts a
    session depends on that session, not on the preceding row, so no window function of SQL can say so.

    funnel_state: the same for funnels. The next step is searched after the step that was reached last; a new entry begins
    with the first event of step 1 after the window of the entry before. Its rows are pairs of event and step.

    components: connected components (union-find), which plain SQL finds only by recursion over all pairs.

    uuid_v5: name-based UUIDs of RFC 9562. They need SHA-1, which Postgres without extensions lacks. The name has at most
    39 bytes, so that namespace and name fill one block of the hash.
#}
{% macro create_window_functions() %}
{% if execute %}
-- two dbt processes that replace a function at the same time fail
select pg_advisory_xact_lock(hashtextextended('tilda.dbt_functions', 0));
create schema if not exists {{ function_schema() }};

create or replace function {{ function_schema() }}.next_session_state(
    state text [], event_id uuid, is_idle boolean, is_page_view boolean, campaign text, referrer text
) returns text []
language plpgsql immutable parallel safe
as $body$
begin
    -- state: the event that started the session, its campaign, its external referrer
    if
        state is null or is_idle
        or is_page_view and campaign <> coalesce(state[2], '')
        or referrer <> coalesce(state[3], '')
    then
        return array[event_id::text, campaign, referrer];
    end if;
    return state;
end
$body$;

create or replace aggregate {{ function_schema() }}.session_state(uuid, boolean, boolean, text, text) (
    sfunc = {{ function_schema() }}.next_session_state, stype = text [], parallel = safe
);

create or replace function {{ function_schema() }}.next_funnel_state(
    state bigint [], ordinal bigint, moment timestamptz, step integer, place bigint, time_window interval,
    is_strict boolean
) returns bigint []
language plpgsql immutable parallel safe
as $body$
declare
    -- in microseconds, and exact: window lengths are whole hours
    at constant bigint := extract(epoch from moment) * 1000000;
    length constant bigint := extract(epoch from time_window) * 1000000;
begin
    -- state: the row that entered, when; the step that was reached, its place; the row that reached it
    if state is null or at > state[2] + length then
        if step = 1 then
            return array[ordinal, at, step, place, ordinal];
        end if;
    elsif step = state[3] + 1 and (not is_strict or place = state[4] + 1) then
        return array[state[1], state[2], step, place, ordinal];
    end if;
    return state;
end
$body$;

create or replace aggregate {{ function_schema() }}.funnel_state(bigint, timestamptz, integer, bigint, interval, boolean) (
    sfunc = {{ function_schema() }}.next_funnel_state, stype = bigint [], parallel = safe
);

-- members, keys: pairs of a member (1, 2, …) and a key (1, 2, …) that it has. Members who share a key are connected. Element
-- n of the result is the smallest member of the component of member n.
create or replace function {{ function_schema() }}.components(members integer [], keys integer []) returns integer []
language plpgsql immutable parallel safe
as $body$
declare
    member_count constant integer := (select max(member) from unnest(members) as listed (member));
    parent integer [] := array(
        select node from generate_series(1, member_count + (select max(key) from unnest(keys) as listed (key))) as nodes (node)
    );
    one integer;
    other integer;
begin
    for pair in 1 .. cardinality(members) loop
        one := members[pair];
        other := member_count + keys[pair];
        while parent[one] <> one loop
            parent[one] := parent[parent[one]];
            one := parent[one];
        end loop;
        while parent[other] <> other loop
            parent[other] := parent[parent[other]];
            other := parent[other];
        end loop;
        if one < other then
            parent[other] := one;
        else
            parent[one] := other;
        end if;
    end loop;
    -- a parent is never larger than its child, so the parent of each node is final before the node
    for node in 1 .. member_count loop
        parent[node] := parent[parent[node]];
    end loop;
    return parent[1:member_count];
end
$body$;

create or replace function {{ function_schema() }}.uuid_v5(namespace uuid, name text) returns uuid
language plpgsql immutable strict parallel safe
as $body$
declare
    message bytea := decode(replace(namespace::text, '-', ''), 'hex') || convert_to(name, 'UTF8');
    bits int := length(message) * 8;
    m constant bigint := 4294967295;
    w bigint [];
    a bigint := 1732584193;
    b bigint := 4023233417;
    c bigint := 2562383102;
    d bigint := 271733878;
    e bigint := 3285377520;
    t bigint;
    digest text;
begin
    if length(message) > 55 then
        raise exception 'uuid_v5 takes names of at most 39 bytes';
    end if;
    message := message || '\x80'::bytea || decode(repeat('00', 59 - length(message)), 'hex')
        || decode(lpad(to_hex(bits), 8, '0'), 'hex');
    -- Postgres binds + before all bit operators, and those from left to right: hence the brackets.
    for i in 0 .. 15 loop
        w[i] := (get_byte(message, 4 * i)::bigint << 24) | (get_byte(message, 4 * i + 1) << 16)
            | (get_byte(message, 4 * i + 2) << 8) | get_byte(message, 4 * i + 3);
    end loop;
    for i in 16 .. 79 loop
        t := w[i - 3] # w[i - 8] # w[i - 14] # w[i - 16];
        w[i] := ((t << 1) | (t >> 31)) & m;
    end loop;
    for i in 0 .. 79 loop
        t := (((a << 5) | (a >> 27)) & m) + e + w[i] + case
            when i < 20 then (((b & c) | (~b & m & d)) + 1518500249)
            when i < 40 then ((b # c # d) + 1859775393)
            when i < 60 then (((b & c) | (b & d) | (c & d)) + 2400959708)
            else ((b # c # d) + 3395469782)
        end;
        e := d;
        d := c;
        c := ((b << 30) | (b >> 2)) & m;
        b := a;
        a := t & m;
    end loop;
    digest := lpad(to_hex((a + 1732584193) & m), 8, '0') || lpad(to_hex((b + 4023233417) & m), 8, '0')
        || lpad(to_hex((c + 2562383102) & m), 8, '0') || lpad(to_hex((d + 271733878) & m), 8, '0')
        || lpad(to_hex((e + 3285377520) & m), 8, '0');
    -- version 5, variant 10
    return (
        substr(digest, 1, 12) || '5' || substr(digest, 14, 3)
        || to_hex(8 | (('x' || substr(digest, 17, 1))::bit(4)::int & 3)) || substr(digest, 18, 15)
    )::uuid;
end
$body$;
{% endif %}
{% endmacro %}
