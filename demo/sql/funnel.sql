select
    funnel_id,
    step,
    step_name,
    reached::bigint as reached,
    rate::double precision as rate
from marts.funnel_steps
where site_id = %s
order by funnel_id, step
