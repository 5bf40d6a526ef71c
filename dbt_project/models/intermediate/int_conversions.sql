{{ config(
    unique_key=['site_id', 'conversion_id'],
    indexes=[{'columns': ['site_id', 'user_id']}, {'columns': ['site_id', 'session_id']}],
    meta={'moment': 'matched_at'},
) }}

with

events as (

    select * from {{ ref('int_events') }} as events
    where {{ in_scope('events') }}

),

goals as (

    select * from {{ ref('stg_goals') }}
    union all
    select
        'purchase' as goal_id,
        'Purchase' as goal_name,
        null as site_id,
        'purchase' as event_type,
        null as page_path,
        null as form_id,
        null as minimum_value

),

linked as (

    select
        named.*,
        {{ visitors_who_share(ref('int_visitor_links'), 'named.site_id', 'named.order_link') }} as order_visitors,
        {{ visitors_who_share(ref('int_visitor_links'), 'named.site_id', 'named.transaction_link') }}
            as transaction_visitors
    from (
        select
            *,
            case when event_type = 'purchase' then 'order:' || order_id end as order_link,
            'transaction:' || transaction_id as transaction_link
        from events
        where event_type in (select goals.event_type from goals)
    ) as named

),

matched as (

    select
        events.*,
        goals.goal_id,
        goals.goal_name,
        goals.minimum_value,
        -- What the browser and the webhook both know of one conversion. What too many share is known of a visitor only.
        coalesce(
            case when events.order_visitors <= {{ var('identifier_visitor_bound') }} then events.order_link end,
            case
                when events.transaction_visitors <= {{ var('identifier_visitor_bound') }} then events.transaction_link
            end,
            events.order_link || ' ' || events.user_id,
            events.transaction_link || ' ' || events.user_id,
            'event:' || events.event_id
        ) as conversion_key
    from linked as events
    inner join goals
        on
            events.event_type = goals.event_type
            and (goals.site_id is null or events.site_id = goals.site_id)
            and (goals.page_path is null or events.page_path like goals.page_path)
            and (goals.form_id is null or events.form_id = goals.form_id)

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
        min(received_at) as received_at,
        {{ first_value('event_id', 'session_id is null, is_anonymous, occurred_at, event_id') }} as event_id,
        {{ first_value('user_id', 'session_id is null, is_anonymous, occurred_at, event_id') }} as user_id,
        {{ first_value('occurred_at', 'session_id is null, is_anonymous, occurred_at, event_id') }} as matched_at,
        {{ first_value('session_id', 'session_id is null, is_anonymous, occurred_at, event_id') }} as session_id,
        {{ first_value('page_path', 'page_path is null, source = \'webhook\', occurred_at, event_id') }} as page_path,
        {{ first_value('form_id', 'form_id is null, source = \'webhook\', occurred_at, event_id') }} as form_id,
        min(order_id) as order_id,
        min(transaction_id) as transaction_id,
        {{ first_value('order_amount', 'order_amount is null, source <> \'webhook\', occurred_at, event_id') }}
            as amount,
        {{ first_value('order_currency', 'order_amount is null, source <> \'webhook\', occurred_at, event_id') }}
            as currency,
        bool_or(source = 'webhook') as is_confirmed_by_webhook,
        count(*) as event_count
    from matched
    group by 1, 2, 3
    -- of browser and webhook, the amount that counts decides
    having
        min(minimum_value) is null
        or {{ first_value('order_amount', 'order_amount is null, source <> \'webhook\', occurred_at, event_id') }}
        >= min(minimum_value)

),

final as (

    select
        md5(concat_ws(chr(31), site_id, goal_id, conversion_key)) as conversion_id,
        *
    from merged

)

select * from final
