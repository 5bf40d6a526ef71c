{#
    CTEs up to `acquired`: where the session starts of `relation` came from. Needs the CTEs `click_ids` and
    `channel_sources` (the seeds) beside it.

    source: `utm_source`, else the network of a paid click ID, else the external referrer, else the network of a click ID
    that unpaid links carry too (`fbclid`, `ysclid`).
    medium: `utm_medium`, else the medium of the click ID.
    channel: GA4's default channel groups as published (support.google.com/analytics/answer/9756891), in their order, with
    the AI assistants that GA4 has listed separately since May 2026. GA4 does not publish its list of assistants; the
    seed has ours.
#}
{% macro acquired(relation) %}
traced as (

    select
        events.*,
        lower(coalesce(
            events.utm_source,
            case when click_ids.medium is not null then click_ids.source end,
            events.referrer_domain,
            click_ids.source
        )) as traffic_source,
        lower(coalesce(events.utm_medium, click_ids.medium)) as traffic_medium
    from {{ relation }} as events
    left join click_ids on events.click_id = click_ids.parameter

),

{{ source_categories('traced') }},

acquired as (

    select
        traced.*,
        {{ channel_group('traced.traffic_source', 'traced.traffic_medium', 'traced.utm_campaign', 'source_categories.category') }}
            as channel
    from traced
    left join source_categories on traced.traffic_source = source_categories.traffic_source

)
{% endmacro %}

{#
    CTEs up to `source_categories`: the category of each `traffic_source` of `relation`. Needs the CTE `channel_sources`
    beside it.

    A source is looked up under its own name and, of a host, under each parent domain, the longest name first. A name
    that ends in a public suffix is also looked up with the suffix replaced by `*`. Each distinct source is looked up
    once, by equality of names, so the cost does not depend on the number of sessions or of known sources.
#}
{% macro source_categories(relation) %}
traffic_sources as (

    select distinct
        traffic_source,
        string_to_array(regexp_replace(traffic_source, '^www[.]', ''), '.') as labels
    from {{ relation }}
    where traffic_source is not null

),

-- no known source has more than 8 labels
source_names as (

    select
        traffic_sources.traffic_source,
        places.place,
        known_as.name
    from traffic_sources
    cross join lateral generate_series(
        greatest(cardinality(traffic_sources.labels) - 7, 1), cardinality(traffic_sources.labels)
    ) as places (place)
    cross join lateral (
        select array_to_string(traffic_sources.labels[places.place:], '.') as host_name
    ) as hosts
    cross join lateral unnest(array[hosts.host_name, {{ with_any_suffix('hosts.host_name') }}]) as known_as (name)

),

source_categories as (

    select distinct on (source_names.traffic_source)
        source_names.traffic_source,
        channel_sources.category
    from source_names
    inner join channel_sources on source_names.name = channel_sources.source
    where source_names.place = 1 or channel_sources.includes_subdomains
    -- a name in full goes before a name with `*`
    order by source_names.traffic_source, source_names.place, channel_sources.source like '%.*'

)
{% endmacro %}

{#
    The host name with its public suffix replaced by `*`: `google.com.ar` becomes `google.*`. Covers the public suffixes
    under which international companies register: `com`, `net`, `org`, `info`, `cat`, country codes, and `com`, `co`,
    `net`, `org`, `ne`, `or` and `it` below a country code.
#}
{% macro with_any_suffix(host_name) -%}
    regexp_replace(
        {{ host_name }}, '[.](com|net|org|info|cat|[a-z]{2}|(com|co|net|org|ne|or|it)[.][a-z]{2})$', '.*'
    )
{%- endmacro %}

{% macro channel_group(source, medium, campaign, category) -%}
{%- set is_paid = medium ~ " ~ '^(.*cp.*|ppc|retargeting|paid.*)$'" -%}
{%- set is_shop = "lower(" ~ campaign ~ ") ~ '^(.*(([^a-df-z]|^)shop|shopping).*)$'" -%}
case
            when {{ source }} is null and {{ medium }} is null and {{ campaign }} is null then 'Direct'
            when {{ source }} in ('(direct)', 'direct') and coalesce({{ medium }}, '(none)') in ('(none)', '(not set)')
                then 'Direct'
            when {{ campaign }} ilike '%cross-network%' then 'Cross-network'
            when ({{ category }} = 'shopping' or {{ is_shop }}) and {{ is_paid }} then 'Paid Shopping'
            when {{ category }} = 'search' and {{ is_paid }} then 'Paid Search'
            when {{ category }} = 'social' and {{ is_paid }} then 'Paid Social'
            when {{ category }} = 'video' and {{ is_paid }} then 'Paid Video'
            when {{ medium }} in ('display', 'banner', 'expandable', 'interstitial', 'cpm') then 'Display'
            when {{ is_paid }} then 'Paid Other'
            when {{ category }} = 'shopping' or {{ is_shop }} then 'Organic Shopping'
            when
                {{ category }} = 'social'
                or {{ medium }} in ('social', 'social-network', 'social-media', 'sm', 'social network', 'social media')
                then 'Organic Social'
            when {{ category }} = 'video' or {{ medium }} ~ '^(.*video.*)$' then 'Organic Video'
            when {{ category }} = 'search' or {{ medium }} = 'organic' then 'Organic Search'
            -- GA4 gives the medium 'ai-assistant' to referrers of its own list; links in answers often name a source only
            when
                {{ medium }} = 'ai-assistant'
                or {{ category }} = 'assistant' and coalesce({{ medium }}, 'referral') in ('referral', '(none)', '(not set)')
                then 'AI Assistant'
            when {{ medium }} in ('referral', 'app', 'link') then 'Referral'
            when
                {{ category }} = 'email'
                or {{ source }} in ('email', 'e-mail', 'e_mail', 'e mail')
                or {{ medium }} in ('email', 'e-mail', 'e_mail', 'e mail')
                then 'Email'
            when {{ medium }} = 'affiliate' then 'Affiliates'
            when {{ medium }} = 'audio' then 'Audio'
            when {{ source }} = 'sms' or {{ medium }} = 'sms' then 'SMS'
            when {{ medium }} like '%push' or {{ medium }} ~ 'mobile|notification' or {{ source }} = 'firebase'
                then 'Mobile Push Notifications'
            when {{ medium }} is null and {{ campaign }} is null and referrer_domain = {{ source }} then 'Referral'
            else 'Unassigned'
        end
{%- endmacro %}
