with

shipped as (

    select * from {{ ref('goals') }}

),

own as (

    select * from {{ ref('own_goals') }}

),

final as (

    select * from shipped
    union all
    select * from own

)

select * from final
