select scores.user_id, scores.score, visitors.last_channel, visitors.session_count, visitors.lifetime_revenue
from ml.propensity_scores as scores
inner join marts.visitors as visitors on scores.site_id = visitors.site_id and scores.user_id = visitors.user_id
where scores.site_id = %(site)s and scores.target = 'conversion_7d' and scores.band = 'hot' and scores.as_of = (
    select max(newest.as_of) from ml.propensity_scores as newest
    where newest.site_id = %(site)s and newest.target = 'conversion_7d'
)
order by scores.score desc limit 100
