-- The expected value of each visitor's next order: the mean of the visitor's orders before `before`, shrunk towards the
-- site's mean as if the visitor had three more orders of that value. Only orders in the site's most frequent currency
-- count. The row with a null user_id has the site's mean, for all other visitors. Without orders there are no rows.
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
