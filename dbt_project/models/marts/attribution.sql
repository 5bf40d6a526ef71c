{{ config(
    unique_key=['site_id', 'conversion_id', 'session_id'],
    indexes=[
        {'columns': ['site_id', 'conversion_id', 'session_id'], 'unique': true},
        {'columns': ['site_id', 'conversion_date']},
        {'columns': ['site_id', 'person_id']},
    ],
    meta={'built_by': 'person'},
) }}

with

conversions as (

    select * from {{ ref('conversions') }}
    where {{ of_affected_visitors() }}

),

sessions as (

    select * from {{ ref('sessions') }}
    where {{ of_affected_visitors() }}

),

-- The sessions of the person that began before the conversion, up to 90 days back
touches as (

    select
        conversions.conversion_id,
        conversions.site_id,
        conversions.goal_id,
        conversions.person_id,
        conversions.converted_at,
        conversions.conversion_date,
        conversions.value,
        conversions.revenue,
        sessions.session_id,
        sessions.started_at as touched_at,
        sessions.channel,
        sessions.utm_source,
        sessions.utm_medium,
        sessions.utm_campaign,
        row_number() over (
            partition by conversions.site_id, conversions.conversion_id
            order by sessions.started_at, sessions.session_id
        ) as touch_number,
        count(*) over (partition by conversions.site_id, conversions.conversion_id) as touch_count,
        -- the last touch that is not Direct; of a person who came directly only, the last one
        row_number() over (
            partition by conversions.site_id, conversions.conversion_id
            order by (sessions.channel = 'Direct') asc, sessions.started_at desc, sessions.session_id desc
        ) = 1 as is_last_non_direct,
        -- a touch loses half of its weight in 7 days
        power(0.5, extract(epoch from conversions.converted_at - sessions.started_at) / 604800) as decay
    from conversions
    inner join sessions
        on
            conversions.site_id = sessions.site_id
            and conversions.person_id = sessions.person_id
            and conversions.converted_at >= sessions.started_at
            and conversions.converted_at - interval '90 days' <= sessions.started_at

),

credited as (

    select
        ---------- keys
        site_id,
        conversion_id,
        session_id,

        ---------- conversion
        goal_id,
        person_id,
        converted_at,
        conversion_date,
        value, -- noqa: RF04
        revenue,

        ---------- touch
        touched_at,
        touch_number,
        touch_count,
        channel,
        utm_source,
        utm_medium,
        utm_campaign,

        ---------- credits
        (touch_number = 1)::integer::double precision as first_touch,
        (touch_number = touch_count)::integer::double precision as last_touch,
        is_last_non_direct::integer::double precision as last_non_direct,
        1 / touch_count::double precision as linear,
        case
            when touch_count = 1 then 1
            when touch_count = 2 then 0.5
            when touch_number in (1, touch_count) then 0.4
            else 0.2 / (touch_count - 2)
        end::double precision as position_based,
        (decay / sum(decay) over (partition by site_id, conversion_id))::double precision as time_decay
    from touches

)

-- days lie together, as they are asked for
select * from credited
order by site_id, converted_at -- noqa: AM06
