-- One page of a target's scores at a cut-off, highest first, after the position {after_score}, {after_user}.
select user_id, score, decile, band, reasons, model_version, scored_at
from ml.propensity_scores
where
    site_id = {site} and target = {target} and as_of = {as_of}
    and score >= {min_score} and ({band}::text is null or band = {band})
    and ({after_score}::double precision is null or (score, user_id) < ({after_score}, {after_user}::text))
order by score desc, user_id desc
limit {limit}
