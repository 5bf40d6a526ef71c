{{ config(unique_key=['site_id', 'user_id', 'link'], indexes=[
    {'columns': ['site_id', 'user_id', 'link'], 'unique': true},
    {'columns': ['site_id', 'link']},
]) }}

with

copies as (

    select * from {{ ref('int_events_sessionised') }}
    where copy_count > 1 and {{ of_affected_visitors() }}

),

events as (

    select * from {{ ref('int_events') }}
    where {{ of_affected_visitors() }}

),

said as (

    {{ links_of('events') }}

),

final as (

    select * from said
    union all
    select distinct
        site_id,
        user_id,
        'event:' || event_id as link,
        false as is_identity
    from copies

)

select * from final
