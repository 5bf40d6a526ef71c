select
    site_id,
    as_of,
    count(*) as examples,
    count(*) filter (where {label}) as positives
from marts.visitor_features
where {label} is not null
group by site_id, as_of
order by site_id, as_of
