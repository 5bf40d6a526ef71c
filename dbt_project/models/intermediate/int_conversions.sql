{{ config(
    unique_key=['site_id', 'conversion_id'],
    indexes=[{'columns': ['site_id', 'user_id']}, {'columns': ['site_id', 'session_id']}],
    meta={'moment': 'matched_at'},
) }}

{%- set by_visitor = 'session_id is null, is_anonymous, occurred_at, event_rank, event_id' %}

with

goals as (

    select * from {{ ref('stg_goals') }}

),

purchase_goals as (

    select
        goal_id,
        goal_name,
        site_id,
        page_path,
        form_id,
        minimum_value
    from goals
    where event_type = 'purchase'
    union all
    select
        'purchase' as goal_id,
        'Purchase' as goal_name,
        null as site_id,
        null as page_path,
        null as form_id,
        null as minimum_value

),

orders as (

    select * from {{ ref('fct_orders') }} as orders
    where {{ in_scope('orders', 'matched_at') }}

),

orders_of_goals as (

    select
        orders.site_id,
        goals.goal_id,
        'order:' || orders.order_key as conversion_key,
        goals.goal_name,
        'purchase' as event_type,
        orders.ordered_at as converted_at,
        orders.event_id,
        orders.user_id,
        orders.matched_at,
        orders.session_id,
        orders.page_path,
        orders.form_id,
        orders.order_key,
        orders.order_id,
        orders.transaction_id,
        orders.gross as amount,
        orders.currency,
        orders.reporting_currency,
        case when goals.goal_id = 'purchase' then orders.gross_reporting else 0 end as revenue,
        case when goals.goal_id = 'purchase' then orders.refunded_reporting else 0 end as refunded,
        case when goals.goal_id = 'purchase' then orders.net_reporting else 0 end as net_revenue,
        orders.is_confirmed_by_webhook,
        orders.record_count as event_count
    from orders
    inner join purchase_goals as goals
        on
            (goals.site_id is null or orders.site_id = goals.site_id)
            and (goals.page_path is null or orders.page_path like goals.page_path)
            and (goals.form_id is null or orders.form_id = goals.form_id)
            and (goals.minimum_value is null or orders.gross >= goals.minimum_value)

),

events as (

    select * from {{ ref('int_events') }} as events
    where event_type in (select goals.event_type from goals) and event_type <> 'purchase' and {{ in_scope('events') }}

),

forms as (

    select * from {{ ref('int_purchase_records') }}
    where event_type <> 'purchase' and (transaction_id is not null or is_order_form)

),

-- Events with a transaction number are one conversion. The others of its number may lie outside the scope.
{%- if is_partial() %}
    forms_in_scope as ( -- noqa: ST03

        select * from forms
        where {{ in_scope('forms') }}

    ),
{%- endif %}

reports as (

    select
        site_id,
        event_id,
        event_type,
        user_id,
        is_anonymous,
        session_id,
        occurred_at,
        event_rank,
        source = 'webhook' as is_webhook,
        page_path,
        form_id,
        order_id,
        transaction_id,
        order_amount as amount,
        order_currency as currency,
        false as is_order_form,
        'event:' || event_id as conversion_key
    from events
    where
        transaction_id is null
        and not (event_type = 'form_submit' and (order_id is not null or order_amount is not null))
    union all
    select
        site_id,
        event_id,
        event_type,
        user_id,
        is_anonymous,
        session_id,
        occurred_at,
        event_rank,
        is_webhook,
        page_path,
        form_id,
        order_id,
        transaction_id,
        amount,
        currency,
        is_order_form,
        coalesce('transaction:' || transaction_id, 'event:' || event_id) as conversion_key
    from forms
    {%- if is_partial() %}
        where
            (site_id, event_id) in (select
                forms_in_scope.site_id,
                forms_in_scope.event_id
            from forms_in_scope)
            or (site_id, transaction_id) in (
                select
                    forms_in_scope.site_id,
                    forms_in_scope.transaction_id
                from forms_in_scope
            )
    {%- endif %}

),

reports_of_goals as (

    select
        reports.*,
        goals.goal_id,
        goals.goal_name,
        goals.minimum_value
    from reports
    inner join goals
        on
            reports.event_type = goals.event_type
            and (goals.site_id is null or reports.site_id = goals.site_id)
            and (goals.page_path is null or reports.page_path like goals.page_path)
            and (goals.form_id is null or reports.form_id = goals.form_id)
            -- a form that places an order is a purchase
            and (goals.counts_orders is true or not reports.is_order_form)

),

-- One row a conversion: the browser knows visitor and session, the webhook knows the money.
merged as (

    select
        site_id,
        goal_id,
        conversion_key,
        min(goal_name) as goal_name,
        min(event_type) as event_type,
        min(occurred_at) as converted_at,
        {{ first_value('event_id', by_visitor) }} as event_id,
        {{ first_value('user_id', by_visitor) }} as user_id,
        {{ first_value('occurred_at', by_visitor) }} as matched_at,
        {{ first_value('session_id', by_visitor) }} as session_id,
        {{ first_value('page_path', 'page_path is null, is_webhook, occurred_at, event_id') }} as page_path,
        {{ first_value('form_id', 'form_id is null, is_webhook, occurred_at, event_id') }} as form_id,
        min(order_id) as order_id,
        min(transaction_id) as transaction_id,
        {{ first_value('amount', 'amount is null, not is_webhook, occurred_at, event_id') }} as amount,
        {{ first_value('currency', 'currency is null, amount is null, not is_webhook, occurred_at, event_id') }}
            as currency,
        bool_or(is_webhook) as is_confirmed_by_webhook,
        count(*) as event_count
    from reports_of_goals
    group by 1, 2, 3
    -- of browser and webhook, the amount that counts decides
    having
        min(minimum_value) is null
        or {{ first_value('amount', 'amount is null, not is_webhook, occurred_at, event_id') }} >= min(minimum_value)

),

sites as (

    select * from {{ ref('stg_sites') }}

),

united as (

    select * from orders_of_goals
    union all
    select
        merged.site_id,
        merged.goal_id,
        merged.conversion_key,
        merged.goal_name,
        merged.event_type,
        merged.converted_at,
        merged.event_id,
        merged.user_id,
        merged.matched_at,
        merged.session_id,
        merged.page_path,
        merged.form_id,
        null as order_key,
        merged.order_id,
        merged.transaction_id,
        merged.amount,
        coalesce(merged.currency, sites.reporting_currency) as currency,
        sites.reporting_currency,
        0 as revenue,
        0 as refunded,
        0 as net_revenue,
        merged.is_confirmed_by_webhook,
        merged.event_count
    from merged
    left join sites on merged.site_id = sites.site_id

),

final as (

    select
        md5(concat_ws(chr(31), site_id, goal_id, conversion_key)) as conversion_id,
        *
    from united

)

select * from final as conversions
where {{ in_scope('conversions', 'matched_at') }}
