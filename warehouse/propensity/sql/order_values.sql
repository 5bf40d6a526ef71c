-- What the next order of each visitor may be worth: the mean of their own orders before `before`, pulled towards the
-- site's mean as if each had three more orders of that size. Only orders in the site's usual currency count; who has
-- none gets the site's mean, with a null user_id. Without a single order there is no row.
with

orders as (

    select user_id, currency, revenue
    from marts.conversions
    where site_id = {site} and goal_id = 'purchase' and revenue > 0 and converted_at < {before}

),

usual as (

    select currency, sum(revenue) / count(*) as mean_value
    from orders
    group by currency
    order by count(*) desc, currency asc
    limit 1

)

select
    orders.user_id,
    usual.currency,
    ((sum(orders.revenue) + 3 * usual.mean_value) / (count(*) + 3))::double precision as order_value
from orders
inner join usual on orders.currency is not distinct from usual.currency
group by orders.user_id, usual.currency, usual.mean_value
union all
select null as user_id, currency, mean_value::double precision as order_value
from usual
