select
    user_id,
    score,
    band,
    array_to_string(reasons, '; ') as reasons
from ml.propensity_scores
where site_id = %s and target = %s
order by as_of desc, score desc, user_id
limit 10
