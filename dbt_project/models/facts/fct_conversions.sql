{{ config(
    unique_key=['site_id', 'conversion_id'],
    indexes=[
        {'columns': ['site_id', 'conversion_id'], 'unique': true},
        {'columns': ['site_id', 'conversion_date']},
        {'columns': ['site_id', 'user_id']},
    ],
    meta={
        'moment': 'matched_at',
        'notes_days': {'column': 'conversion_date', 'models': ['daily_metrics', 'daily_totals', 'daily_acquisition']},
    },
) }}

with

conversions as (

    select * from {{ ref('int_conversions') }} as conversions
    where {{ in_scope('conversions', 'matched_at') }}

),

starts as (

    select * from {{ ref('int_session_starts') }} as session_starts
    where {{ in_scope('session_starts', 'started_at') }}

),

sites as (

    select * from {{ ref('stg_sites') }}

),

joined as (

    select
        ---------- ids
        conversions.conversion_id,
        conversions.site_id,
        conversions.goal_id,
        conversions.event_id,
        conversions.session_id,
        conversions.user_id,
        conversions.order_key,
        conversions.order_id,
        conversions.transaction_id,

        ---------- what
        conversions.goal_name,
        conversions.event_type,
        conversions.page_path,
        conversions.form_id,
        conversions.is_confirmed_by_webhook,
        conversions.event_count,

        ---------- worth
        -- the value of an order without an amount is unknown
        case
            when conversions.event_type = 'purchase' then conversions.amount
            else coalesce(conversions.amount, 0)
        end::numeric(18, 2) as value, -- noqa: RF04
        conversions.currency,
        conversions.reporting_currency,
        conversions.revenue::numeric(18, 2) as revenue,
        conversions.refunded::numeric(18, 2) as refunded,
        conversions.net_revenue::numeric(18, 2) as net_revenue,
        conversions.event_type = 'purchase' and conversions.amount is null as amount_is_unknown,

        ---------- where from and what with
        coalesce(starts.channel, 'Unassigned') as channel,
        coalesce(starts.device_type, 'unknown') as device_type,
        starts.referrer_domain,
        starts.utm_source,
        starts.utm_medium,
        starts.utm_campaign,

        ---------- times
        conversions.converted_at,
        conversions.matched_at,
        (conversions.converted_at at time zone coalesce(sites.timezone, 'UTC'))::date as conversion_date
    from conversions
    left join starts
        on conversions.site_id = starts.site_id and conversions.session_id = starts.session_id
    left join sites on conversions.site_id = sites.site_id

)

select * from joined
