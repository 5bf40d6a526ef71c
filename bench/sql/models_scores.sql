-- Insert one score per day of the last four weeks for every visitor of the newest cut-off.
insert into ml.propensity_scores (site_id, user_id, as_of, score, decile, band, model_version)
select
    site_id,
    user_id,
    %(last)s::timestamptz - days_ago * interval '1 day',
    score,
    ceil((1 - score) * 10),
    case when score > 0.9 then 'hot' when score > 0.6 then 'warm' else 'cold' end,
    'bench'
from (
    select
        features.site_id,
        features.user_id,
        days_ago,
        random() * 0.999 as score
    from marts.visitor_features as features
    cross join generate_series(0, 27) as days_ago
    where features.as_of = (select max(newest.as_of) from marts.visitor_features as newest)
) as scored
