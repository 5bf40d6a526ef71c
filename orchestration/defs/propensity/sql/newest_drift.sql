-- The last decision of each site and target, if drift was seen then.
select
    newest.site_id,
    newest.target,
    newest.metrics -> 'drift' as drift,
    newest.metrics -> 'realised' as realised
from (
    select distinct on (site_id, target) *
    from ml.model_versions
    order by site_id, target, created_at desc
) as newest
where (newest.metrics ->> 'drifted')::boolean
