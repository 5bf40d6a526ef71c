-- Hashed identifiers of scored visitors whose last answer about advertising was yes: each visitor's newest e-mail and
-- telephone hash. The answer is a trait of `identify` or a form field, whose name the owner gives.
with

scored as (

    select user_id, score
    from ml.propensity_scores
    where
        site_id = {site} and target = {target} and as_of = {as_of}
        and score >= {min_score} and ({band}::text is null or band = {band})

),

given as (

    select
        events.user_id,
        scored.score,
        events.received_at,
        events.event_id,
        events.payload #>> '{{identity,email_sha256}}' as email_sha256,
        events.payload #>> '{{identity,phone_sha256}}' as phone_sha256,
        lower(coalesce(
            events.payload #>> array['identity', {consent}], events.payload #>> array['form', 'fields', {consent}]
        )) as answer
    from archive.all_events as events
    inner join scored on events.user_id = scored.user_id
    where
        events.site_id = {site} and not events.is_bot
        and events.event_type in ('identify', 'form_submit', 'signup', 'purchase')

),

visitors as (

    select
        user_id,
        score,
        -- exclude values that are not hashes, such as an e-mail address in plain text
        (array_agg(lower(email_sha256) order by received_at desc, event_id desc)
            filter (where email_sha256 ~ '^[0-9A-Fa-f]{{64}}$'))[1] as email_sha256,
        (array_agg(lower(phone_sha256) order by received_at desc, event_id desc)
            filter (where phone_sha256 ~ '^[0-9A-Fa-f]{{64}}$'))[1] as phone_sha256,
        (array_agg(answer order by received_at desc, event_id desc) filter (where answer is not null))[1] as answer
    from given
    group by user_id, score

)

select email_sha256, phone_sha256, max(score) as score
from visitors
where answer in ('true', 'yes', 'on', '1') and (email_sha256 is not null or phone_sha256 is not null)
group by email_sha256, phone_sha256
order by score desc, email_sha256 asc, phone_sha256 asc
