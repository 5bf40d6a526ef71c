{#
    Identifiers that other visitors may share: a query of the events of `relation` with site_id, user_id, unit_started_at
    (start of the session, or of the event without one), link, is_identity, is_counted (whether an event with `is_counted`
    has the identifier) and last_sent_at (when the last event of the unit with the identifier happened).
#}
{% macro links_of(relation, is_counted='false') -%}
select
        events.site_id,
        events.user_id,
        events.unit_started_at,
        identifiers.link,
        identifiers.is_identity,
        bool_or({{ is_counted }}) as is_counted,
        max(events.occurred_at) as last_sent_at
    from {{ relation }} as events
    cross join lateral (
        values
        ('external:' || events.external_id, true),
        ('email:' || events.email_sha256, true),
        ('order:' || events.order_id, false),
        ('transaction:' || events.transaction_id, false)
    ) as identifiers (link, is_identity)
    where
        identifiers.link is not null
        -- most events have none; this condition alone is cheaper
        and coalesce(events.external_id, events.email_sha256, events.order_id, events.transaction_id) is not null
    group by 1, 2, 3, 4, 5
{%- endmacro %}

{#
    Number of visitors who share a link, counted up to one beyond the variable `identifier_visitor_bound`. An identifier
    that more visitors share identifies nobody: an address that a shop enters for all customers without one, or order
    numbers that restart each day. It joins neither persons nor conversions. `links` also has the identifiers of events
    that do not count, so the number never falls.
#}
{% macro visitors_who_share(links, site_id, link) -%}
(
                select count(*) from (
                    select distinct sharing.user_id from {{ links }} as sharing
                    where sharing.site_id = {{ site_id }} and sharing.link = {{ link }}
                    limit {{ var('identifier_visitor_bound') }} + 1
                ) as few
            )
{%- endmacro %}

{# Condition: the link of the row `alias` of `links` joins visitors. All visitors of a repeated event belong together. #}
{% macro may_join(links, alias) -%}
(
            {{ alias }}.link like 'event:%'
            or {{ visitors_who_share(links, alias ~ '.site_id', alias ~ '.link') }} <= {{ var('identifier_visitor_bound') }}
        )
{%- endmacro %}

{# Condition in int_visitor_links: the link of a quarantined visitor is not stored yet, and not recomputed. #}
{% macro is_new_link(relation) -%}
    {%- if is_partial() -%}
        not {{ in_scope(relation, 'unit_started_at') }}
        and not exists (
            select from {{ this }} as stored
            where
                stored.site_id = {{ relation }}.site_id
                and stored.user_id = {{ relation }}.user_id
                and stored.unit_started_at = {{ relation }}.unit_started_at
                and stored.link = {{ relation }}.link
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
