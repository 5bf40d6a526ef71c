{{ config(
    unique_key=['site_id', 'conversion_id', 'session_id'],
    indexes=[
        {'columns': ['site_id', 'conversion_id', 'session_id'], 'unique': true},
        {'columns': ['site_id', 'conversion_date']},
        {'columns': ['site_id', 'user_id']},
    ],
    meta={'built_by': 'visitor'},
) }}

with

persons as (

    select * from {{ ref('int_persons') }}
    where {{ of_affected_visitors() }}

),

conversions as (

    select * from {{ ref('fct_conversions') }}
    where {{ of_affected_visitors() }}

),

sessions as (

    select * from {{ ref('fct_sessions') }}
    where {{ of_affected_visitors() }}

),

conversions_of_persons as (

    select
        conversions.*,
        coalesce(persons.person_id, conversions.user_id) as person_id
    from conversions
    left join persons
        on
            conversions.site_id = persons.site_id
            and conversions.user_id = persons.user_id
            and conversions.converted_at >= persons.valid_from
            and conversions.converted_at < persons.valid_to

),

sessions_of_persons as (

    select
        sessions.*,
        coalesce(persons.person_id, sessions.user_id) as person_id
    from sessions
    left join persons
        on
            sessions.site_id = persons.site_id
            and sessions.user_id = persons.user_id
            and sessions.started_at >= persons.valid_from
            and sessions.started_at < persons.valid_to

),

-- The sessions of the person that started before the conversion, within the attribution window. A conversion without
-- any has one row without a session, so that the credits of every conversion sum to 1.
touches as (

    select
        conversions.conversion_id,
        conversions.site_id,
        conversions.goal_id,
        conversions.user_id,
        conversions.converted_at,
        conversions.conversion_date,
        conversions.value,
        conversions.revenue,
        conversions.net_revenue,
        sessions.session_id,
        sessions.started_at as touched_at,
        -- a conversion without a known session is credited to no source
        coalesce(sessions.channel, 'Unassigned') as channel,
        sessions.utm_source,
        sessions.utm_medium,
        sessions.utm_campaign,
        row_number() over (
            partition by conversions.site_id, conversions.conversion_id
            order by sessions.started_at, sessions.session_id
        ) as touch_number,
        count(*) over (partition by conversions.site_id, conversions.conversion_id) as touch_count,
        -- the latest touch that is not Direct; if all touches are Direct, the latest
        row_number() over (
            partition by conversions.site_id, conversions.conversion_id
            order by (sessions.channel = 'Direct') asc, sessions.started_at desc, sessions.session_id desc
        ) = 1 as is_last_non_direct,
        -- the weight of a touch halves every 7 days
        power(
            0.5, coalesce(extract(epoch from conversions.converted_at - sessions.started_at), 0) / 604800
        ) as decay
    from conversions_of_persons as conversions
    left join sessions_of_persons as sessions
        on
            conversions.site_id = sessions.site_id
            and conversions.person_id = sessions.person_id
            and conversions.converted_at >= sessions.started_at
            and conversions.converted_at - interval '{{ var("attribution_days") }} days' <= sessions.started_at

),

credited as (

    select
        ---------- keys
        site_id,
        conversion_id,
        session_id,

        ---------- conversion
        goal_id,
        user_id,
        converted_at,
        conversion_date,
        value, -- noqa: RF04
        revenue,
        net_revenue,

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

-- rows of a day are stored together, because queries select days
select * from credited
order by site_id, converted_at -- noqa: AM06
