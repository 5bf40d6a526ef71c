select channel, sum(first_touch) as first_touch, sum(last_touch) as last_touch, sum(last_non_direct) as last_non_direct,
    sum(linear) as linear, sum(position_based) as position_based, sum(time_decay) as time_decay
from marts.attribution
where site_id = %(site)s and conversion_date between %(first)s and %(last)s
group by channel order by linear desc
