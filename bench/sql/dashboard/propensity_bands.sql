select band, count(*) as visitors, avg(score) as mean_score
from ml.propensity_scores
where site_id = %(site)s and target = 'conversion_7d' and as_of = (
    select max(newest.as_of) from ml.propensity_scores as newest
    where newest.site_id = %(site)s and newest.target = 'conversion_7d'
)
group by band order by mean_score desc
