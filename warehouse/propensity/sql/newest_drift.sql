-- The newest decision of each site and target, if it recorded drift.
select
    newest.site_id,
    newest.target,
    newest.metrics -> 'drift' as drift,
    -- the newest final outcome, followed by the preliminary one
    jsonb_path_query_array(newest.metrics, '$.realised[last]') || coalesce(newest.metrics -> 'early', '[]') as outcomes
from (
    select distinct on (site_id, target) *
    from ml.model_versions
    order by site_id, target, created_at desc
) as newest
where (newest.metrics ->> 'drifted')::boolean
