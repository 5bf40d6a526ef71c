-- A target's newest scores, highest first, with each visitor's expected value: the probability of a purchase within
-- seven days times the expected value of an order.
with

wanted as (

    select *
    from ml.propensity_scores
    where site_id = {site} and target = {target} and as_of = {as_of}

),

buying as (

    select user_id, score as purchase_score
    from ml.propensity_scores
    where site_id = {site} and target = 'purchase_7d' and as_of = {as_of}

),

order_values as (

    {order_values}

)

select
    wanted.site_id,
    wanted.user_id,
    wanted.target,
    wanted.as_of,
    wanted.score,
    wanted.decile,
    wanted.band,
    wanted.reasons,
    wanted.model_version,
    coalesce(own.order_value, site.order_value) as expected_order_value,
    site.currency,
    buying.purchase_score * coalesce(own.order_value, site.order_value) as expected_value
from wanted
left join buying on wanted.user_id = buying.user_id
left join order_values as own on wanted.user_id = own.user_id
left join order_values as site on site.user_id is null
where wanted.score >= {min_score} and ({band}::text is null or wanted.band = {band})
order by wanted.score desc, wanted.user_id asc
