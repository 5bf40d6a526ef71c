with

shipped as (

    select * from {{ ref('funnels') }}

),

own as (

    select * from {{ ref('own_funnels') }}

),

final as (

    select * from shipped
    union all
    select * from own

)

select * from final
