{{ config(
    incremental_strategy='work_list',
    indexes=[{'columns': ['site_id', 'user_id'], 'unique': true}],
    pre_hook="{{ prepare_list() }}",
    post_hook="{{ finish_list() }}",
    meta={'reads_as_last_built': [
        'int_events_sessionised', 'int_session_starts', 'int_visitor_links', 'int_quarantine', 'int_persons',
        'int_purchase_records'
    ]},
) }}

{%- if is_partial() %}
{%- set stored_events = as_last_built('int_events_sessionised') %}
{%- set session_starts = as_last_built('int_session_starts') %}
{%- set links = as_last_built('int_visitor_links') %}
{%- set quarantine = as_last_built('int_quarantine') %}
{%- set persons = as_last_built('int_persons') %}
{%- set records = as_last_built('int_purchase_records') %}

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

),

first_changes as (

    select site_id, user_id, min(changed_at) as changed_at from changes
    group by 1, 2

),

changed_units as (

    select
        site_id,
        user_id,
        {{ start_of_overlap('first_changes.site_id', 'first_changes.user_id', 'first_changes.changed_at') }} as since
    from first_changes

),

{{ united_by_copies('reached_by_events', 'changed_units', links) }},

with_changed_events as (

    select
        site_id,
        user_id,
        min(since) as since
    from reached_by_events
    group by 1, 2

),

-- Order and transaction numbers of events that may have changed
changed_keys as (

    select
        events.site_id,
        events.order_id,
        events.transaction_id
    from with_changed_events as affected
    inner join {{ stored_events }} as events
        on
            affected.site_id = events.site_id
            and affected.user_id = events.user_id
            and events.occurred_at >= affected.since
    where coalesce(events.order_id, events.transaction_id) is not null
    union
    select
        site_id,
        order_id,
        transaction_id
    from arrived
    where coalesce(order_id, transaction_id) is not null

),

records_with_changed_keys as (

    select records.* from (select distinct site_id, order_id from changed_keys) as changed
    inner join {{ records }} as records on changed.site_id = records.site_id and changed.order_id = records.order_id
    union all
    select records.* from (select distinct site_id, transaction_id from changed_keys) as changed
    inner join {{ records }} as records
        on changed.site_id = records.site_id and changed.transaction_id = records.transaction_id

),

-- The orders and forms of these numbers may get other records, which changes the conversions of their visitors.
with_changed_orders as (

    select
        records.site_id,
        records.user_id,
        min(records.occurred_at) as changed_at
    from (
        select site_id, user_id, occurred_at from records_with_changed_keys
        union all
        select same_order.site_id, same_order.user_id, same_order.occurred_at
        from (select distinct site_id, order_key from records_with_changed_keys) as changed
        inner join {{ records }} as same_order
            on changed.site_id = same_order.site_id and changed.order_key = same_order.order_key
    ) as records
    group by 1, 2

),

units_with_changed_orders as (

    select site_id, user_id, since from with_changed_events
    union all
    select
        site_id,
        user_id,
        {{ start_of_overlap('with_changed_orders.site_id', 'with_changed_orders.user_id', 'with_changed_orders.changed_at') }}
            as since
    from with_changed_orders

),

{{ united_by_copies('reached_by_orders', 'units_with_changed_orders', links) }},

with_changed_units as (

    select
        site_id,
        user_id,
        min(since) as since
    from reached_by_orders
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
