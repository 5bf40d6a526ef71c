-- The mean score of each site, target and cut-off, with the base rate of the model: the share of positives in its
-- holdout data.
select
    scores.site_id,
    scores.target,
    avg(scores.score) as mean_score,
    (models.metrics -> 'chosen' ->> 'base_rate')::double precision as base_rate
from ml.propensity_scores as scores
inner join ml.model_versions as models
    on
        scores.site_id = models.site_id and scores.target = models.target
        and scores.model_version = models.version
group by scores.site_id, scores.target, scores.as_of, models.metrics
