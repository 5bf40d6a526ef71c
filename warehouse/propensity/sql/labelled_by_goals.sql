-- Feature rows whose label horizon has passed, with the label: whether one of the goals was reached within the horizon.
select
    features.*,
    exists(
        select 1
        from marts.conversions
        where
            conversions.site_id = features.site_id
            and conversions.user_id = features.user_id
            and conversions.goal_id = any({goals})
            and conversions.converted_at > features.as_of
            and conversions.converted_at <= features.as_of + {horizon}
    ) as {label}
from marts.visitor_features as features
inner join (
    select site_id, max(as_of) as newest_as_of
    from marts.visitor_features
    group by site_id
) as newest on features.site_id = newest.site_id
where features.as_of + {settle} <= newest.newest_as_of
