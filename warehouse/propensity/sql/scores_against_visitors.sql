-- `missing`: visitors of the newest cut-off without a score of a champion. `unexpected`: scores of that cut-off without
-- a matching visitor.
with

newest as (

    select site_id, max(as_of) as as_of
    from marts.visitor_features
    group by site_id

),

expected as (

    select features.site_id, models.target, features.as_of, features.user_id
    from marts.visitor_features as features
    inner join newest on features.site_id = newest.site_id and features.as_of = newest.as_of
    inner join ml.model_versions as models on features.site_id = models.site_id and models.is_champion

),

found as (

    select scores.site_id, scores.target, scores.as_of, scores.user_id
    from ml.propensity_scores as scores
    inner join newest on scores.site_id = newest.site_id and scores.as_of = newest.as_of

)

select
    count(*) filter (where found.user_id is null) as missing,
    count(*) filter (where expected.user_id is null) as unexpected
from expected
full join found
    on
        expected.site_id = found.site_id and expected.target = found.target
        and expected.as_of = found.as_of and expected.user_id = found.user_id
