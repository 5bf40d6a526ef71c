-- The final outcomes of the visitors at the cut-offs of a model's holdout period.
select
    user_id,
    as_of,
    converted_7d as label
from marts.visitor_features
where site_id = %s and as_of between %s and %s and converted_7d is not null
