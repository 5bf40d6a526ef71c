with

shipped as (

    select * from {{ ref('funnels') }}

),

own as (

    select * from {{ ref('own_funnels') }}

),

final as (

    select
        funnel_id,
        funnel_name,
        site_id,
        step,
        step_name,
        event_type,
        page_path,
        window_hours,
        step_order
    from shipped
    union all
    select
        funnel_id,
        funnel_name,
        site_id,
        step,
        step_name,
        event_type,
        page_path,
        window_hours,
        step_order
    from own

)

select * from final
