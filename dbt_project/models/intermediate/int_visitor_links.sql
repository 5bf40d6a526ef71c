{{ config(unique_key=['site_id', 'user_id', 'link'], indexes=[
    {'columns': ['site_id', 'user_id', 'link'], 'unique': true},
    {'columns': ['site_id', 'link']},
]) }}

with

-- Copies and events that were set apart, too: by how many a link is shared must never become fewer, or everybody who
-- shares it would have to be built again.
events as (

    select * from {{ ref('int_events_sessionised') }}
    where {{ of_affected_visitors() }}

),

said as (

    {{ links_of('events', is_counted='events.is_counted') }}

),

repeated as (

    select distinct
        site_id,
        user_id,
        'event:' || event_id as link,
        false as is_identity,
        true as is_counted
    from events
    where copy_count > 1

),

-- Visitors who were set apart are on no list, so what they say now is not among the events above.
set_apart as (

    select stg_events.*
    from {{ ref('stg_events') }} as stg_events
    inner join {{ ref('int_quarantine') }} as quarantine
        on stg_events.site_id = quarantine.site_id and stg_events.user_id = quarantine.user_id
    where
        quarantine.reason = 'visitor'
        and not stg_events.is_bot
        and {% if is_partial() %}{{ is_newly_loaded() }}{% else %}false{% endif %}

),

said_apart as (

    {{ links_of('set_apart') }}

),

final as (

    select * from said
    union all
    select * from repeated
    union all
    select * from said_apart
    where not {{ of_affected_visitors() }}

)

select * from final
