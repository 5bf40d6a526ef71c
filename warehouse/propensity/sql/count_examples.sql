select
    site_id,
    {target} as target,
    as_of,
    count(*) as examples,
    count(*) filter (where {label}) as positives
from ({rows}) as labelled
group by site_id, as_of
order by site_id, as_of
