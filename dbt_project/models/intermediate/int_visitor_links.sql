{{ config(unique_key=['site_id', 'user_id', 'unit_started_at', 'link'], indexes=[
    {'columns': ['site_id', 'user_id', 'unit_started_at']},
    {'columns': ['site_id', 'link', 'user_id']},
], meta={'moment': 'unit_started_at'}) }}

with

-- With copies and quarantined events: the number of visitors who share a link must never fall, or all of them would
-- have to be recomputed.
identifying_events as (

    select * from {{ ref('int_events_sessionised') }} as events
    where
        {{ in_scope('events') }}
        and (
            copy_count > 1
            or coalesce(external_id, email_sha256, order_id, transaction_id) is not null
        )

),

starts as (

    select * from {{ ref('int_session_starts') }} as session_starts
    where {{ in_scope('session_starts', 'started_at') }}

),

events as (

    select
        identifying_events.*,
        coalesce(
            starts.started_at, identifying_events.quarantined_session_started_at, identifying_events.occurred_at
        ) as unit_started_at
    from identifying_events
    left join starts
        on identifying_events.site_id = starts.site_id and identifying_events.session_id = starts.session_id

),

sent as (

    {{ links_of('events', is_counted='events.is_counted') }}

),

repeated as (

    select distinct
        site_id,
        user_id,
        unit_started_at,
        'event:' || event_id as link,
        false as is_identity,
        true as is_counted,
        null::timestamptz as last_sent_at
    from events
    where copy_count > 1

),

-- The events of quarantined visitors are read once, into no other model.
quarantined_events as (

    select
        stg_events.*,
        stg_events.occurred_at as unit_started_at
    from {{ ref('stg_events') }} as stg_events
    inner join {{ ref('int_quarantine') }} as quarantine
        on stg_events.site_id = quarantine.site_id and stg_events.user_id = quarantine.user_id
    where
        quarantine.reason = 'visitor'
        and not stg_events.is_bot
        and {% if is_partial() %}{{ is_newly_loaded() }}{% else %}false{% endif %}

),

sent_in_quarantine as (

    {{ links_of('quarantined_events') }}

),

final as (

    select * from sent
    union all
    select * from repeated
    union all
    select * from sent_in_quarantine
    where {{ is_new_link('sent_in_quarantine') }}

)

select * from final
