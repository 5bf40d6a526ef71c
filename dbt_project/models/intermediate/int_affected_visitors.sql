{{ config(
    incremental_strategy='work_list',
    indexes=[{'columns': ['site_id', 'user_id'], 'unique': true}],
    pre_hook="{{ prepare_list() }}",
    post_hook="{{ finish_list() }}",
    meta={'reads_as_last_built': [
        'int_events_sessionised', 'int_session_starts', 'int_visitor_links', 'int_quarantine'
    ]},
) }}

{%- if is_partial() %}
{%- set stored_events = as_last_built('int_events_sessionised') %}
{%- set session_starts = as_last_built('int_session_starts') %}
{%- set links = as_last_built('int_visitor_links') %}
{%- set few_share_it -%}
(
                links.link like 'event:%'
                or {{ visitors_who_share(links, 'links.site_id', 'links.link') }} <= {{ var('identifier_visitor_bound') }}
            )
{%- endset %}

with recursive

arrived as materialized (

    select * from {{ ref('stg_events') }}
    where
        not is_bot and {{ is_newly_loaded() }}
        -- what the overlap brings again is known; its visitors are still listed if a model has yet to take it in
        and not exists (
            select from {{ stored_events }} as stored
            where
                stored.event_id = stg_events.event_id
                and stored.created_at = stg_events.created_at
                and stored.site_id = stg_events.site_id
        )

),

arrived_links as (

    {{ links_of('arrived') }}

),

-- The visitors of these events, and those who already have one of their ids, sessions, orders or identities
first_affected as (

    select site_id, user_id from arrived
    union
    select stored.site_id, stored.user_id
    from arrived
    inner join {{ stored_events }} as stored
        on arrived.event_id = stored.event_id and arrived.site_id = stored.site_id
    union
    select starts.site_id, starts.user_id
    from arrived
    inner join {{ session_starts }} as starts
        on arrived.site_id = starts.site_id and arrived.client_session_id = starts.client_session_id
    union
    select links.site_id, links.user_id
    from arrived_links
    inner join {{ links }} as links on arrived_links.site_id = links.site_id and arrived_links.link = links.link
    where {{ few_share_it }}
    union
    select site_id, user_id from {{ state('visitors_to_rebuild') }}

),

-- and so on from each of them
reached as (

    select site_id, user_id from first_affected
    union
    select nearby.site_id, nearby.user_id
    from reached
    cross join lateral (
        select others.site_id, others.user_id
        from {{ session_starts }} as own
        inner join {{ session_starts }} as others
            on own.site_id = others.site_id and own.client_session_id = others.client_session_id
        where own.site_id = reached.site_id and own.user_id = reached.user_id
        union all
        select others.site_id, others.user_id
        from {{ links }} as links
        inner join {{ links }} as others on links.site_id = others.site_id and links.link = others.link
        where
            links.site_id = reached.site_id and links.user_id = reached.user_id
            and {{ few_share_it }}
    ) as nearby

),

final as (

    select
        reached.site_id,
        reached.user_id,
        (
            select marks.build + 1 from {{ state('watermarks') }} as marks where marks.model = '{{ this.identifier }}'
        ) as build
    from reached
    -- the events of visitors who were set apart are not read again
    left join {{ as_last_built('int_quarantine') }} as quarantine
        on
            reached.site_id = quarantine.site_id
            and reached.user_id = quarantine.user_id
            and quarantine.reason = 'visitor'
    where quarantine.user_id is null

)

select * from final
{%- else %}

    -- a full build asks nobody who is affected
    with

    final as (

        select
            null::text as site_id,
            null::text as user_id,
            null::bigint as build
        from {{ ref('stg_events') }}
        where false

    )

    select * from final
{%- endif %}
