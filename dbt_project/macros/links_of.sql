{# What may join the visitor of an event with others: a query of `relation` with site_id, user_id, link, is_identity. #}
{% macro links_of(relation) -%}
select distinct
        events.site_id,
        events.user_id,
        said.link,
        said.is_identity
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
{%- endmacro %}
