with

shipped as (

    select * from {{ ref('exchange_rates') }}

),

own as (

    select * from {{ ref('own_exchange_rates') }}

),

united as (

    select
        *,
        1 as preference
    from own
    union all
    select
        *,
        2 as preference
    from shipped

),

-- a rate in the seed own_exchange_rates takes precedence over the rate in exchange_rates of the same day
final as (

    select distinct on (currency, date)
        date,
        upper(currency) as currency,
        rate
    from united
    order by currency, date, preference

)

select * from final
