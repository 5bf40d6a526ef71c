{#
    What may join the visitor of an event with others: a query of `relation` with site_id, user_id, link, is_identity and
    is_counted, which is whether any event with `is_counted` says so.
#}
{% macro links_of(relation, is_counted='false') -%}
select
        events.site_id,
        events.user_id,
        said.link,
        said.is_identity,
        bool_or({{ is_counted }}) as is_counted
    from {{ relation }} as events
    cross join lateral (
        values
        ('external:' || events.external_id, true),
        ('email:' || events.email_sha256, true),
        ('order:' || events.order_id, false),
        ('transaction:' || events.transaction_id, false)
    ) as said (link, is_identity)
    where
        said.link is not null
        -- most events say nothing; asking first is cheaper
        and coalesce(events.external_id, events.email_sha256, events.order_id, events.transaction_id) is not null
    group by 1, 2, 3, 4
{%- endmacro %}

{#
    How many visitors share a link, counted up to one beyond the variable `identifier_visitor_bound`. An identifier that
    more share is none: an address that stands in for all who give none, an order number that begins anew each day. It
    joins neither persons nor conversions, and whoever says it next concerns nobody else. `links` holds all who ever said
    it, so that the number never falls.
#}
{% macro visitors_who_share(links, site_id, link) -%}
(
                select count(*) from (
                    select from {{ links }} as sharing
                    where sharing.site_id = {{ site_id }} and sharing.link = {{ link }}
                    limit {{ var('identifier_visitor_bound') }} + 1
                ) as few
            )
{%- endmacro %}
