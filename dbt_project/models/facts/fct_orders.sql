{{ config(
    unique_key=['site_id', 'order_key'],
    indexes=[
        {'columns': ['site_id', 'order_key'], 'unique': true},
        {'columns': ['site_id', 'order_date']},
        {'columns': ['site_id', 'order_id']},
        {'columns': ['site_id', 'user_id', 'matched_at']},
    ],
    meta={'moment': 'matched_at', 'notes_days': {'column': 'order_date', 'models': ['daily_revenue']}},
) }}

{%- set by_visitor = 'session_id is null, is_anonymous, occurred_at, event_rank, event_id' %}

with

changed_orders as (

    select distinct
        records.site_id,
        records.order_key
    from {{ ref('int_purchase_records') }} as records
    where records.order_key is not null and {{ in_scope('records') }}

),

-- An order has records outside the scope too.
records as (

    select records.*
    from {{ ref('int_purchase_records') }} as records
    inner join changed_orders as changed
        on records.site_id = changed.site_id and records.order_key = changed.order_key

),

starts as (

    select * from {{ ref('int_session_starts') }} as session_starts
    where {{ in_scope('session_starts', 'started_at') }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

-- One row an order. The browser knows visitor, session and page; the webhook's amount goes before the browser's.
merged as (

    select
        site_id,
        order_key,
        min(order_id) as order_id,
        min(transaction_id) as transaction_id,
        {{ first_value('event_id', by_visitor) }} as event_id,
        {{ first_value('user_id', by_visitor) }} as user_id,
        {{ first_value('session_id', by_visitor) }} as session_id,
        {{ first_value('occurred_at', by_visitor) }} as matched_at,
        {{ first_value('page_path', 'page_path is null, is_webhook, occurred_at, event_rank, event_id') }} as page_path,
        {{ first_value('form_id', 'form_id is null, is_webhook, occurred_at, event_rank, event_id') }} as form_id,
        min(occurred_at) as ordered_at,
        min(received_at) as received_at,
        {{ first_value('amount', 'amount is null, not is_webhook, occurred_at, event_rank, event_id') }} as gross,
        {{ first_value(
            'currency', 'currency is null, amount is null, not is_webhook, occurred_at, event_rank, event_id'
        ) }} as currency,
        {{ first_value('item_count', 'item_count is null, not is_webhook, occurred_at, event_rank, event_id') }}
            as item_count,
        bool_or(is_webhook) as is_confirmed_by_webhook,
        bool_or(is_webhook or coalesce(order_status = 'paid', false)) as is_confirmed,
        count(*) as record_count
    from records
    where record_type = 'purchase'
    group by 1, 2

),

-- Refunds, and the last status that a sender gave
changes as (

    select
        site_id,
        order_key,
        count(*) filter (where record_type = 'refund') as refund_count,
        sum(amount) filter (where record_type = 'refund') as refund_amount,
        bool_or(record_type = 'refund' and amount is null) as is_refunded_fully,
        {{ first_value('order_status', 'order_status is null, occurred_at desc, event_rank desc, event_id desc') }}
            as last_status
    from records
    group by 1, 2

),

refunded as (

    select
        merged.*,
        coalesce(merged.currency, sites.reporting_currency) as order_currency,
        sites.reporting_currency,
        (merged.ordered_at at time zone coalesce(sites.timezone, 'UTC'))::date as order_date,
        changes.refund_count,
        coalesce(changes.refund_amount > merged.gross, false) as is_refunded_too_much,
        coalesce(changes.last_status = 'cancelled', false) as is_cancelled,
        case
            when changes.last_status = 'cancelled' or changes.is_refunded_fully then coalesce(merged.gross, 0)
            else least(coalesce(changes.refund_amount, 0), coalesce(merged.gross, 0))
        end as refunded
    from merged
    inner join changes on merged.site_id = changes.site_id and merged.order_key = changes.order_key
    left join sites on merged.site_id = sites.site_id

),

-- `rate`: value of one unit of the order's currency in the reporting currency; null if unknown
converted as (

    select
        *,
        case
            when order_currency = reporting_currency then 1
            else
                {{ exchange_rate('refunded.order_currency', 'refunded.order_date') }}
                / {{ exchange_rate('refunded.reporting_currency', 'refunded.order_date') }}
        end as rate
    from refunded

),

final as (

    select
        ---------- ids
        converted.site_id,
        converted.order_key,
        converted.order_id,
        converted.transaction_id,
        converted.event_id,
        converted.user_id,
        converted.session_id,

        ---------- times
        converted.ordered_at,
        converted.matched_at,
        converted.order_date,

        ---------- state
        case
            when converted.is_cancelled then 'cancelled'
            when converted.refunded > 0 and converted.refunded = converted.gross then 'refunded'
            when converted.refunded > 0 then 'partially_refunded'
            when converted.is_confirmed then 'paid'
            else 'pending'
        end as status,
        converted.is_confirmed,
        converted.is_confirmed_by_webhook,
        converted.is_refunded_too_much,
        converted.refund_count,
        converted.record_count,
        converted.item_count,

        ---------- money
        converted.order_currency as currency,
        converted.gross::numeric(18, 2) as gross,
        converted.refunded::numeric(18, 2) as refunded,
        (converted.gross - converted.refunded)::numeric(18, 2) as net,
        converted.reporting_currency,
        (converted.gross * converted.rate)::numeric(18, 2) as gross_reporting,
        (converted.refunded * converted.rate)::numeric(18, 2) as refunded_reporting,
        (
            (converted.gross * converted.rate)::numeric(18, 2) - (converted.refunded * converted.rate)::numeric(18, 2)
        )::numeric(18, 2) as net_reporting,

        ---------- where from and what with
        converted.page_path,
        converted.form_id,
        coalesce(starts.channel, 'Unassigned') as channel,
        coalesce(starts.device_type, 'unknown') as device_type
    from converted
    left join starts on converted.site_id = starts.site_id and converted.session_id = starts.session_id

)

select * from final as orders
where {{ in_scope('orders', 'matched_at') }}
