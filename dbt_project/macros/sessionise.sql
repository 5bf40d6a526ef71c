{#
    CTE `external_referrers`: the referrers of the events of `relation` that are neither the page's own host, nor a domain
    of the site, nor a payment page. Needs the CTEs `sites` and `referrer_exclusions`. Each pair of hosts is compared once,
    not once an event.
#}
{% macro external_referrers(relation) %}
external_referrers as (

    select
        hosts.site_id,
        hosts.page_host,
        hosts.referrer_host,
        hosts.referrer_host as referrer_domain
    from (
        select distinct
            site_id,
            page_host,
            referrer_host
        from {{ relation }}
        where referrer_host is not null
    ) as hosts
    left join sites on hosts.site_id = sites.site_id
    where
        hosts.referrer_host is distinct from hosts.page_host
        and not exists (
            select from unnest(sites.domains) as own (name)
            where {{ is_within('hosts.referrer_host', "regexp_replace(lower(own.name), '^www[.]', '')") }}
        )
        and not exists (
            select from referrer_exclusions
            where {{ is_within('hosts.referrer_host', 'referrer_exclusions.domain') }}
        )

)
{% endmacro %}

{# Identifies a campaign: all five UTM values; null without any. #}
{% macro campaign_key() -%}
case
            when coalesce(utm_source, utm_medium, utm_campaign, utm_term, utm_content) is not null
                then array_to_string(array[utm_source, utm_medium, utm_campaign, utm_term, utm_content], chr(31), '')
        end
{%- endmacro %}

{# Whether a host is a domain or one of its subdomains. #}
{% macro is_within(host, domain) -%}
    ({{ host }} = {{ domain }} or right({{ host }}, length({{ domain }}) + 1) = '.' || {{ domain }})
{%- endmacro %}

{#
    CTEs up to `sessionised`: applies the session rules to the events of `relation`, separately for each visitor and client
    session (a tab). `also_by` names a further column that separates histories. Returns the columns `keep` and

    session_start_id: the event that started the session; null before the first activity;
    is_session_start: whether the event started the session;
    session_started_at: when the session started;
    page_view_sequence: number of page views so far in the session.

    Events without `is_activity` (page_leave, web_vitals, events of servers) neither start nor extend a session.
#}
{% macro sessionised(relation, keep, also_by=none) %}
keyed as (

    select
        *,
        -- one short key: sorting by several texts takes most of the time of this model
        md5(concat_ws(
            chr(31),
            {% if also_by %}{{ also_by }}, {% endif %}site_id, coalesce(client_session_id::text, ''), user_id
        ))::uuid as visitor_session
    from {{ relation }}

),

timed as (

    select
        *,
        occurred_at - max(occurred_at) filter (where is_activity) over (
            visitor_session rows between unbounded preceding and 1 preceding
        ) > interval '30 minutes' as is_idle
    from keyed
    window visitor_session as (partition by visitor_session order by occurred_at, event_rank, event_id)

),

stated as (

    select
        *,
        {{ function_schema() }}.session_state(event_id, is_idle, event_type = 'page_view', campaign, referrer_domain)
            filter (where is_activity) over visitor_session as session_state,
        count(*) filter (where event_type = 'page_view' and is_activity) over visitor_session as page_views_so_far
    from timed
    window visitor_session as (
        partition by visitor_session order by occurred_at, event_rank, event_id
        rows between unbounded preceding and current row
    )

),

started as (

    select
        *,
        session_state[1]::uuid as session_start_id,
        coalesce(session_state[1]::uuid = event_id, false) as is_session_start
    from stated

),

sessionised as (

    select
        {{ keep | join(',\n        ') }},
        session_start_id,
        is_session_start,
        page_views_so_far - max(page_views_so_far - (event_type = 'page_view')::integer) filter (where is_session_start)
            over visitor_session as page_view_sequence,
        max(occurred_at) filter (where is_session_start) over visitor_session as session_started_at
    from started
    window visitor_session as (
        partition by visitor_session order by occurred_at, event_rank, event_id
        rows between unbounded preceding and current row
    )

)
{% endmacro %}

{#
    CTEs up to `sourced`: from which session each row of `starts` has its source. `source_id` is `key` of that session: its
    own, or, of a session that was opened from the site itself, that of the session in which the visitor was active last,
    if that was at most 30 minutes before. That session may have inherited its source too, so the CTEs need `with recursive`.

    `starts` needs the columns of `keys`, `key`, event_id, referrer_host and traffic_source; `activity` (the events that
    are activity) needs `keys`, `key`, event_id, event_rank and occurred_at.
#}
{% macro sourced(starts, activity, key='session_id', keys=['site_id', 'user_id']) %}
-- sessions whose first page was opened from the site or a payment page, without a campaign
opened_from_site as (

    select
        {{ keys | join(', ') }},
        event_id
    from {{ starts }}
    where
        referrer_host is not null and referrer_domain is null and traffic_source is null
        and utm_medium is null and utm_campaign is null

),

activity_in_order as (

    select
        {{ keys | join(', ') }},
        {{ key }},
        event_id,
        occurred_at,
        lag({{ key }}) over visitor as previous_session,
        lag(occurred_at) over visitor as previous_at
    from {{ activity }}
    where ({{ keys | join(', ') }}) in (select {{ keys | join(', ') }} from opened_from_site)
    window visitor as (partition by {{ keys | join(', ') }} order by occurred_at, event_rank, event_id)

),

heirs as (

    select
        {% for name in keys %}activity_in_order.{{ name }},
        {% endfor -%}
        activity_in_order.{{ key }},
        activity_in_order.previous_session
    from activity_in_order
    inner join opened_from_site
        on
            {% for name in keys %}activity_in_order.{{ name }} = opened_from_site.{{ name }}
            and {% endfor -%}
            activity_in_order.event_id = opened_from_site.event_id
    where
        activity_in_order.occurred_at - activity_in_order.previous_at <= interval '30 minutes'
        and activity_in_order.previous_session <> activity_in_order.{{ key }}

),

ancestors as (

    select
        {{ keys | join(', ') }},
        {{ key }},
        previous_session,
        1 as distance
    from heirs
    union all
    select
        {% for name in keys %}ancestors.{{ name }},
        {% endfor -%}
        ancestors.{{ key }},
        heirs.previous_session,
        ancestors.distance + 1
    from ancestors
    inner join heirs
        on
            {% for name in keys %}ancestors.{{ name }} = heirs.{{ name }}
            and {% endfor -%}
            ancestors.previous_session = heirs.{{ key }}

),

source_sessions as (

    select distinct on ({{ keys | join(', ') }}, {{ key }})
        {{ keys | join(', ') }},
        {{ key }},
        previous_session as source_id
    from ancestors
    order by {{ keys | join(', ') }}, {{ key }}, distance desc

),

sourced as (

    select
        starts.*,
        coalesce(source_sessions.source_id, starts.{{ key }}) as source_id
    from {{ starts }} as starts
    left join source_sessions
        on
            {% for name in keys %}starts.{{ name }} = source_sessions.{{ name }}
            and {% endfor -%}
            starts.{{ key }} = source_sessions.{{ key }}

)
{% endmacro %}
