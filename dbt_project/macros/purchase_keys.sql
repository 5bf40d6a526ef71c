{# Query: the keys (kind, value) of a row of purchase records. Purchases also meet in their session. #}
{% macro keys_of_record(record) -%}
        select named.kind, named.value
        from (
            values
            ('order', {{ record }}.order_id),
            ('transaction', {{ record }}.transaction_id),
            ('session', case when {{ record }}.record_type = 'purchase' then {{ record }}.session_id::text end)
        ) as named (kind, value)
        where named.value is not null
{%- endmacro %}

{# Query: the rows of `records` with the key (kind, value) of the row `key`, by one index for each kind. #}
{% macro records_with_key(records, key) -%}
        select known.* from {{ records }} as known
        where known.site_id = {{ key }}.site_id and {{ key }}.kind = 'order' and known.order_id = {{ key }}.value
        union all
        select known.* from {{ records }} as known
        where
            known.site_id = {{ key }}.site_id and {{ key }}.kind = 'transaction'
            and known.transaction_id = {{ key }}.value
        union all
        select known.* from {{ records }} as known
        where
            known.site_id = {{ key }}.site_id and known.record_type = 'purchase'
            and known.session_id = case when {{ key }}.kind = 'session' then {{ key }}.value::uuid end
{%- endmacro %}
