-- Traits of `identify` and form fields whose answers by scored visitors are all yes or no, with the number of visitors
-- who answered. An audience can be selected by each of them.
with

scored as (

    select user_id
    from ml.propensity_scores
    where site_id = {site} and target = {target} and as_of = {as_of}

),

answers as (

    select
        events.user_id,
        said.name,
        lower(said.answer) in ('true', 'yes', 'on', '1', 'false', 'no', 'off', '0') as is_yes_or_no
    from archive.all_events as events
    inner join scored on events.user_id = scored.user_id
    cross join lateral (
        values (events.payload -> 'identity'), (events.payload #> '{{form,fields}}')
    ) as section (answers)
    cross join lateral jsonb_each_text(
        case when jsonb_typeof(section.answers) = 'object' then section.answers else '{{}}' end
    ) as said (name, answer)
    where
        events.site_id = {site} and not events.is_bot
        and events.event_type in ('identify', 'form_submit', 'signup', 'purchase')

)

select name, count(distinct user_id) as visitors
from answers
group by name
having bool_and(is_yes_or_no)
order by visitors desc, name asc
limit 20
