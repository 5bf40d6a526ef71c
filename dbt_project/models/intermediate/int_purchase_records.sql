{{ config(
    unique_key=['site_id', 'event_id'],
    indexes=[
        {'columns': ['site_id', 'event_id'], 'unique': true},
        {'columns': ['site_id', 'user_id', 'occurred_at']},
        {'columns': ['site_id', 'order_key']},
        {'columns': ['site_id', 'order_id']},
        {'columns': ['site_id', 'transaction_id']},
        {'columns': ['site_id', 'session_id']},
    ],
    meta={'built_by': 'row'},
) }}

{%- set columns = [
    'site_id', 'event_id', 'user_id', 'is_anonymous', 'session_id', 'occurred_at', 'received_at', 'event_rank',
    'event_type', 'is_webhook', 'record_type', 'page_path', 'form_id', 'order_id', 'transaction_id', 'amount', 'currency',
    'order_status', 'item_count',
] %}

with recursive

events as (

    select
        site_id,
        event_id,
        user_id,
        is_anonymous,
        session_id,
        occurred_at,
        received_at,
        event_rank,
        event_type,
        source = 'webhook' as is_webhook,
        case
            when event_type in ('purchase', 'refund') then event_type
            when event_type = 'form_submit' and (order_id is not null or order_amount is not null) then 'purchase'
            when transaction_id is not null then 'form'
        end as record_type,
        page_path,
        form_id,
        order_id,
        transaction_id,
        order_amount as amount,
        order_currency as currency,
        order_status,
        order_item_count as item_count
    from {{ ref('int_events') }} as events
    where {{ in_scope('events') }}

),

{%- if is_partial() %}

    stored_in_scope as (

        select * from {{ this }} as known
        where {{ in_scope('known') }}

    ),

    -- Keys of the records that may have changed, of the records that share a key with them, and so on: their orders may
    -- change.
    reached_keys as (

        select
            records.site_id,
            record_keys.kind,
            record_keys.value
        from (
            select
                site_id,
                record_type,
                order_id,
                transaction_id,
                session_id
            from events
            where record_type is not null
            union all
            select
                site_id,
                record_type,
                order_id,
                transaction_id,
                session_id
            from stored_in_scope
        ) as records
        cross join lateral ({{ keys_of_record('records') }}) as record_keys
        union
        select
            reached.site_id,
            record_keys.kind,
            record_keys.value
        from reached_keys as reached
        cross join lateral ({{ records_with_key(this, 'reached') }}) as sharing
        cross join lateral ({{ keys_of_record('sharing') }}) as record_keys

    ),

    -- records outside the scope are as the last build left them
    unchanged as ( -- noqa: ST03

        select distinct
            sharing.{{ columns | join(',\n            sharing.') }}
        from reached_keys as reached
        cross join lateral ({{ records_with_key(this, 'reached') }}) as sharing
        where not {{ in_scope('sharing') }}

    ),
{%- endif %}

records as (

    select {{ columns | join(', ') }} from events
    where record_type is not null
    {%- if is_partial() %}
    union all
    select {{ columns | join(', ') }} from unchanged
    {%- endif %}

),

-- `member` numbers the purchases of a site by time.
purchases as (

    select
        *,
        row_number() over (partition by site_id order by occurred_at, event_rank, event_id)::integer as member
    from records
    where record_type = 'purchase'

),

purchase_keys as (

    select
        purchases.*,
        record_keys.kind,
        record_keys.value
    from purchases
    cross join
        lateral (
            values ('order', purchases.order_id), ('transaction', purchases.transaction_id)
        ) as record_keys (kind, value)
    where record_keys.value is not null

),

-- Of two visitors: the same number, amount and currency, at most 2 hours apart, both from the webhook or both not.
with_distances as (

    select
        *,
        occurred_at - lag(occurred_at) over same_money > interval '2 hours' as is_far
    from purchase_keys
    where amount is not null
    window same_money as (
        partition by site_id, kind, value, amount, currency, is_webhook order by member
    )

),

with_runs as (

    select
        *,
        count(*) filter (where is_far) over (
            partition by site_id, kind, value, amount, currency, is_webhook order by member
        ) as run_number
    from with_distances

),

with_confirmations as (

    select
        *,
        bool_or(is_webhook) over (partition by site_id, kind, value) as is_confirmed
    from purchase_keys
    where kind = 'transaction'

),

-- The purchases before and after each purchase with the same order number that a webhook did not send
with_order_neighbours as (

    select
        *,
        bool_or(not is_webhook) over (partition by site_id, order_id, transaction_id)
        and transaction_id is not null as is_known_by_transaction,
        max(member) filter (where not is_webhook) over (same_money rows between unbounded preceding and 1 preceding)
            as previous_of_same_money,
        min(member) filter (where not is_webhook) over (same_money rows between 1 following and unbounded following)
            as next_of_same_money,
        max(member) filter (where not is_webhook) over (same_number rows between unbounded preceding and 1 preceding)
            as previous_of_number,
        min(member) filter (where not is_webhook) over (same_number rows between 1 following and unbounded following)
            as next_of_number
    from purchases
    where order_id is not null
    window
        same_money as (partition by site_id, order_id, amount, currency order by member),
        same_number as (partition by site_id, order_id order by member)

),

-- A webhook without a visitor confirms the nearest purchase with its order number, of its amount and currency if there
-- is one.
confirmed_by_number as (

    select distinct on (webhooks.site_id, webhooks.member)
        webhooks.site_id,
        webhooks.member,
        confirmed.member as other_member
    from with_order_neighbours as webhooks
    cross join
        lateral (
            values
            (case when webhooks.amount is not null then webhooks.previous_of_same_money end, 1),
            (case when webhooks.amount is not null then webhooks.next_of_same_money end, 1),
            (webhooks.previous_of_number, 2),
            (webhooks.next_of_number, 2)
        ) as neighbours (member, preference)
    inner join purchases as confirmed
        on webhooks.site_id = confirmed.site_id and neighbours.member = confirmed.member
    where webhooks.is_webhook and webhooks.is_anonymous and not webhooks.is_known_by_transaction
    order by
        webhooks.site_id, webhooks.member, neighbours.preference,
        abs(extract(epoch from confirmed.occurred_at - webhooks.occurred_at)), confirmed.member

),

-- The purchases before and after each purchase in the same session at the same amount
with_session_neighbours as (

    select
        *,
        max(member) over (same_money rows between unbounded preceding and 1 preceding) as previous_of_same_money,
        min(member) over (same_money rows between 1 following and unbounded following) as next_of_same_money,
        max(member) filter (where currency is null) over (
            same_amount rows between unbounded preceding and 1 preceding
        ) as previous_without_currency,
        min(member) filter (where currency is null) over (
            same_amount rows between 1 following and unbounded following
        ) as next_without_currency,
        max(member) over (same_amount rows between unbounded preceding and 1 preceding) as previous_of_amount,
        min(member) over (same_amount rows between 1 following and unbounded following) as next_of_amount
    from purchases
    where session_id is not null and amount is not null
    window
        same_money as (partition by site_id, session_id, amount, currency order by member),
        same_amount as (partition by site_id, session_id, amount order by member)

),

-- A purchase without a key belongs to the nearest purchase in its session within 10 minutes.
joined_by_session as (

    select distinct on (nameless.site_id, nameless.member)
        nameless.site_id,
        nameless.member,
        nearest.member as other_member
    from with_session_neighbours as nameless
    cross join
        lateral (
            values
            (nameless.previous_of_same_money, 1),
            (nameless.next_of_same_money, 1),
            (nameless.previous_without_currency, 2),
            (nameless.next_without_currency, 2),
            (case when nameless.currency is null then nameless.previous_of_amount end, 2),
            (case when nameless.currency is null then nameless.next_of_amount end, 2)
        ) as neighbours (member, preference)
    inner join purchases as nearest
        on nameless.site_id = nearest.site_id and neighbours.member = nearest.member
    where
        nameless.order_id is null and nameless.transaction_id is null
        and nearest.occurred_at between nameless.occurred_at - interval '10 minutes'
        and nameless.occurred_at + interval '10 minutes'
    order by
        nameless.site_id, nameless.member, neighbours.preference,
        abs(extract(epoch from nearest.occurred_at - nameless.occurred_at)), nearest.member

),

-- Purchases with a common row key are one order.
joins as (

    select
        site_id,
        member,
        concat_ws(chr(31), 'visitor', user_id, kind, value) as join_key
    from purchase_keys
    where not is_anonymous
    union all
    select
        site_id,
        member,
        concat_ws(chr(31), 'confirmed', value) as join_key
    from with_confirmations
    where is_confirmed
    union all
    select
        site_id,
        member,
        concat_ws(
            chr(31), 'near', kind, value, amount::text, coalesce(currency, ''), is_webhook::text, run_number::text
        ) as join_key
    from with_runs
    union all
    select
        picked.site_id,
        pair.member,
        concat_ws(chr(31), 'picked', picked.member::text) as join_key
    from (
        select * from confirmed_by_number
        union all
        select * from joined_by_session
    ) as picked
    cross join lateral (values (picked.member), (picked.other_member)) as pair (member)

),

numbered_joins as (

    select
        site_id,
        member,
        dense_rank() over (partition by site_id order by join_key)::integer as join_number
    from joins

),

first_members as (

    select
        connected.site_id,
        listed.member::integer as member,
        listed.first_member
    from (
        select
            site_id,
            {{ function_schema() }}.components(array_agg(member), array_agg(join_number)) as first_members
        from numbered_joins
        group by site_id
    ) as connected
    cross join lateral unnest(connected.first_members) with ordinality as listed (first_member, member)

),

-- An order is named after its earliest record.
ordered as (

    select
        purchases.*,
        first_records.event_id::text as order_key
    from purchases
    left join first_members
        on purchases.site_id = first_members.site_id and purchases.member = first_members.member
    inner join purchases as first_records
        on
            purchases.site_id = first_records.site_id
            and coalesce(first_members.first_member, purchases.member) = first_records.member

),

orders as (

    select
        site_id,
        order_key,
        min(occurred_at) as ordered_at,
        array_agg(distinct user_id) filter (where not is_anonymous) as user_ids
    from ordered
    group by site_id, order_key
    having count(amount) > 0

),

refunds as (

    select * from records
    where record_type = 'refund'

),

refundable as (

    select
        refunds.site_id,
        refunds.event_id,
        ordered.order_key
    from refunds
    inner join ordered on refunds.site_id = ordered.site_id and refunds.order_id = ordered.order_id
    union
    select
        refunds.site_id,
        refunds.event_id,
        ordered.order_key
    from refunds
    inner join ordered on refunds.site_id = ordered.site_id and refunds.transaction_id = ordered.transaction_id

),

-- A refund belongs to the latest earlier order with the same order number, preferably of the same visitor. If there is
-- no earlier order, the refund belongs to the next one, because a server's clock may be slow.
refunded as (

    select distinct on (refunds.site_id, refunds.event_id)
        refunds.*,
        orders.order_key
    from refunds
    left join refundable on refunds.site_id = refundable.site_id and refunds.event_id = refundable.event_id
    left join orders on refundable.site_id = orders.site_id and refundable.order_key = orders.order_key
    order by
        refunds.site_id asc, refunds.event_id asc,
        (orders.order_key is null) asc, (orders.ordered_at > refunds.occurred_at) asc,
        coalesce(refunds.user_id = any(orders.user_ids), false) desc,
        abs(extract(epoch from refunds.occurred_at - orders.ordered_at)) asc, orders.order_key asc

),

ordering_transactions as (

    select distinct
        site_id,
        transaction_id
    from purchases
    where transaction_id is not null

),

final as (

    select
        {{ columns | join(', ') }},
        order_key,
        event_type = 'form_submit' as is_order_form
    from ordered
    union all
    select
        {{ columns | join(', ') }},
        order_key,
        false as is_order_form
    from refunded
    union all
    select
        {% for column in columns %}records.{{ column }},
        {% endfor -%}
        null::text as order_key,
        records.event_type = 'form_submit' and ordering_transactions.site_id is not null as is_order_form
    from records
    left join ordering_transactions
        on
            records.site_id = ordering_transactions.site_id
            and records.transaction_id = ordering_transactions.transaction_id
    where records.record_type = 'form'

)

select * from final
