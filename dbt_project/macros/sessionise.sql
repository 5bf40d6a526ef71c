{#
    CTE `external_referrers` for the events of `relation`, which must stand beside the CTEs `sites` and
    `referrer_exclusions`: the referrers that are neither the page's own host, nor a domain of the site, nor a payment
    page. Worked out for each pair of hosts once, not for each event.
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

{# What tells one campaign from another: all five UTM values, or null without any. #}
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
    CTEs up to `sessionised`: the rules of sessions applied to the events of `relation`, each visitor and client session
    for itself (a new tab is a client session of its own; `also_by` names a further column that keeps histories apart).
    Gives the columns `keep` and

    session_start_id: the event that began the session; null before the first activity;
    is_session_start: whether it is this one;
    session_started_at: when it happened;
    page_view_sequence: page views so far within visitor and client session.

    What is no activity (page_leave, web_vitals, webhooks) neither starts nor extends a session.
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
        {{ function_schema() }}.session_state(event_id, is_idle, campaign, referrer_domain) filter (where is_activity)
            over visitor_session as session_state,
        count(*) filter (where event_type = 'page_view' and is_activity) over visitor_session as page_view_sequence
    from timed
    window visitor_session as (
        partition by visitor_session order by occurred_at, event_rank, event_id
        rows between unbounded preceding and current row
    )

),

begun as (

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
        page_view_sequence,
        max(occurred_at) filter (where is_session_start) over (
            partition by visitor_session order by occurred_at, event_rank, event_id
            rows between unbounded preceding and current row
        ) as session_started_at
    from begun

)
{% endmacro %}
