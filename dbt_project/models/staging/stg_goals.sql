with

shipped as (

    select * from {{ ref('goals') }}

),

own as (

    select * from {{ ref('own_goals') }}

),

final as (

    select
        goal_id,
        goal_name,
        site_id,
        event_type,
        page_path,
        form_id,
        minimum_value,
        counts_orders
    from shipped
    union all
    select
        goal_id,
        goal_name,
        site_id,
        event_type,
        page_path,
        form_id,
        minimum_value,
        counts_orders
    from own

)

select * from final
