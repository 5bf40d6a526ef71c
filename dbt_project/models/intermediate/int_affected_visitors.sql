{{ config(
    incremental_strategy='work_list',
    indexes=[{'columns': ['site_id', 'user_id'], 'unique': true}],
    pre_hook="{{ prepare_list() }}",
    post_hook="{{ finish_list() }}",
    meta={'reads_as_last_built': [
        'int_events_sessionised', 'int_session_starts', 'int_visitor_links', 'int_quarantine', 'int_persons'
    ]},
) }}

{%- if is_partial() %}
{%- set stored_events = as_last_built('int_events_sessionised') %}
{%- set session_starts = as_last_built('int_session_starts') %}
{%- set links = as_last_built('int_visitor_links') %}
{%- set quarantine = as_last_built('int_quarantine') %}
{%- set persons = as_last_built('int_persons') %}

with recursive

arrived as materialized (

    select * from {{ ref('stg_events') }}
    where
        not is_bot and {{ is_newly_loaded() }}
        -- events that the overlap reads again; their visitors are still listed if a model has not read them
        and not exists (
            select from {{ stored_events }} as stored
            where
                stored.event_id = stg_events.event_id
                and stored.created_at = stg_events.created_at
                and stored.site_id = stg_events.site_id
        )

),

arrived_units as (

    select
        *,
        occurred_at as unit_started_at
    from arrived

),

arrived_links as (

    {{ links_of('arrived_units') }}

),

-- An event without activity changes the session that it is attached to.
attached_to as (

    select
        arrived.site_id,
        arrived.user_id,
        max(starts.started_at) as changed_at
    from arrived
    inner join {{ session_starts }} as starts
        on
            arrived.site_id = starts.site_id
            and arrived.user_id = starts.user_id
            and arrived.occurred_at >= starts.started_at
            and (arrived.is_detached or arrived.client_session_id is not distinct from starts.client_session_id)
    where not arrived.is_activity
    group by arrived.site_id, arrived.user_id, arrived.event_id, arrived.created_at

),

attached_to_quarantined as (

    select
        arrived.site_id,
        arrived.user_id,
        quarantine.started_at as changed_at
    from arrived
    inner join {{ quarantine }} as quarantine
        on
            arrived.site_id = quarantine.site_id
            and arrived.user_id = quarantine.user_id
            and arrived.occurred_at >= quarantine.started_at
    where not arrived.is_activity and quarantine.reason = 'session'

),

-- Another stored copy of an arrived event may stop or begin to count.
copies as (

    select
        stored.site_id,
        stored.user_id,
        stored.client_session_id,
        stored.occurred_at as changed_at
    from arrived
    inner join {{ stored_events }} as stored
        on arrived.event_id = stored.event_id and arrived.site_id = stored.site_id

),

-- All units of a visitor who now has too many events are quarantined.
crowded as (

    select
        newcomers.site_id,
        newcomers.user_id
    from (select site_id, user_id, count(*) as event_count from arrived group by 1, 2) as newcomers
    cross join lateral (
        select count(*) as event_count
        from (
            select from {{ stored_events }} as stored
            where stored.site_id = newcomers.site_id and stored.user_id = newcomers.user_id
            limit {{ var('visitor_event_bound') }} + 1
        ) as few
    ) as known
    where newcomers.event_count + known.event_count > {{ var('visitor_event_bound') }}

),

-- The client's session ID belongs to the first session that has it, so a new first session changes the others.
changed_client_sessions as (

    select site_id, client_session_id from arrived
    union
    select site_id, client_session_id from copies
    union
    select starts.site_id, starts.client_session_id
    from crowded
    inner join {{ session_starts }} as starts on crowded.site_id = starts.site_id and crowded.user_id = starts.user_id

),

changes as (

    select site_id, user_id, occurred_at as changed_at from arrived
    union all
    select site_id, user_id, changed_at from attached_to
    union all
    select site_id, user_id, changed_at from attached_to_quarantined
    union all
    select site_id, user_id, changed_at from copies
    union all
    select site_id, user_id, '-infinity' from crowded
    union all
    select site_id, user_id, '-infinity' from {{ state('visitors_to_rebuild') }}
    union all
    select starts.site_id, starts.user_id, starts.started_at
    from changed_client_sessions
    inner join {{ session_starts }} as starts
        on
            changed_client_sessions.site_id = starts.site_id
            and changed_client_sessions.client_session_id = starts.client_session_id
    union all
    select links.site_id, links.user_id, links.unit_started_at
    from arrived_links
    inner join {{ links }} as links on arrived_links.site_id = links.site_id and arrived_links.link = links.link
    where not arrived_links.is_identity and {{ may_join(links, 'arrived_links') }}
    union all
    select links.site_id, links.user_id, links.unit_started_at
    from arrived_links
    inner join {{ links }} as links
        on
            arrived_links.site_id = links.site_id
            and arrived_links.user_id = links.user_id
            and arrived_links.link = links.link
    where not arrived_links.is_identity

),

first_changes as (

    select site_id, user_id, min(changed_at) as changed_at from changes
    group by 1, 2

),

-- Units that share an order, a transaction or an event ID are recomputed together, and so on from each of them.
reached as (

    select
        site_id,
        user_id,
        {{ start_of_overlap('first_changes.site_id', 'first_changes.user_id', 'first_changes.changed_at') }} as since
    from first_changes
    union
    select
        linked.site_id,
        linked.user_id,
        {{ start_of_overlap('linked.site_id', 'linked.user_id', 'linked.unit_started_at') }} as since
    from reached
    cross join lateral (
        select others.site_id, others.user_id, others.unit_started_at
        from {{ links }} as own
        inner join {{ links }} as others on own.site_id = others.site_id and own.link = others.link
        where
            own.site_id = reached.site_id and own.user_id = reached.user_id
            and own.unit_started_at >= reached.since
            and not own.is_identity
            and {{ may_join(links, 'own') }}
            and (others.user_id <> own.user_id or others.unit_started_at < reached.since)
        union all
        select others.site_id, others.user_id, others.unit_started_at
        from {{ links }} as own
        inner join {{ links }} as others
            on own.site_id = others.site_id and own.user_id = others.user_id and own.link = others.link
        where
            own.site_id = reached.site_id and own.user_id = reached.user_id
            and own.unit_started_at >= reached.since
            and not own.is_identity
            and others.unit_started_at < reached.since
    ) as linked

),

with_changed_units as (

    select
        site_id,
        user_id,
        min(since) as since
    from reached
    group by 1, 2

),

{% for (reader, result) in [('with_changed_units', 'sharing_identity'), ('sharing_identity', 'sharing_identities')] %}
-- The person of a visitor depends on the identities of visitors who share an identity with the visitor, and on theirs.
{{ result }} as (

    select site_id, user_id from {{ reader }}
    union
    select others.site_id, others.user_id
    from {{ reader }} as affected
    inner join {{ links }} as own on affected.site_id = own.site_id and affected.user_id = own.user_id
    inner join {{ links }} as others on own.site_id = others.site_id and own.link = others.link
    where own.is_identity and {{ may_join(links, 'own') }}
    {%- if reader == 'with_changed_units' %}
    union
    select links.site_id, links.user_id
    from arrived_links
    inner join {{ links }} as links on arrived_links.site_id = links.site_id and arrived_links.link = links.link
    where arrived_links.is_identity and {{ may_join(links, 'arrived_links') }}
    {%- endif %}

),
{% endfor %}
-- Conversions are attributed to all sessions of the person.
same_person as (

    select site_id, user_id from sharing_identities
    union
    select others.site_id, others.user_id
    from sharing_identities as affected
    inner join {{ persons }} as own on affected.site_id = own.site_id and affected.user_id = own.user_id
    inner join {{ persons }} as others on own.site_id = others.site_id and own.person_id = others.person_id

),

final as (

    select
        same_person.site_id,
        same_person.user_id,
        coalesce(with_changed_units.since, 'infinity') as since,
        (
            select marks.build + 1 from {{ state('watermarks') }} as marks where marks.model = '{{ this.identifier }}'
        ) as build
    from same_person
    left join with_changed_units
        on same_person.site_id = with_changed_units.site_id and same_person.user_id = with_changed_units.user_id
    -- events of quarantined visitors are not read again
    where
        not exists (
            select from {{ quarantine }} as quarantine
            where
                quarantine.site_id = same_person.site_id
                and quarantine.user_id = same_person.user_id
                and quarantine.reason = 'visitor'
        )

)

select * from final
{%- else %}

    -- a full build does not ask which visitors are affected
    with

    final as (

        select
            null::text as site_id,
            null::text as user_id,
            null::timestamptz as since,
            null::bigint as build
        from {{ ref('stg_events') }}
        where false

    )

    select * from final
{%- endif %}
