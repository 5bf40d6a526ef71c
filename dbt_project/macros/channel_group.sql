{#
    CTEs up to `acquired`: where the session starts of `relation` came from. Needs the CTE `channel_sources` beside it.

    GA4's default channel groups as published (support.google.com/analytics/answer/9756891), in its order, with the AI
    assistants that it has set apart since May 2026 (their list is not published; the seed has ours). A session
    without UTM takes its source from the click id that advertising networks add, else from the external referrer.
    Sources are looked up once each, not once a session.
#}
{% macro acquired(relation) %}
traced as (

    select
        *,
        lower(coalesce(utm_source, click_id_source, referrer_domain)) as traffic_source,
        lower(coalesce(
            utm_medium,
            case when coalesce(utm_source, utm_medium, utm_campaign) is null and click_id_source is not null then 'cpc' end
        )) as traffic_medium
    from {{ relation }}

),

source_categories as (

    select distinct on (named.traffic_source)
        named.traffic_source,
        channel_sources.category
    from (select distinct traffic_source from traced where traffic_source is not null) as named
    inner join channel_sources
        on
            named.traffic_source = channel_sources.source
            -- docs.google.com is no search engine
            or (
                channel_sources.category <> 'search'
                and {{ is_within('named.traffic_source', 'channel_sources.source') }}
            )
    order by named.traffic_source, length(channel_sources.source) desc

),

acquired as (

    select
        traced.*,
        {{ channel_group('traced.traffic_source', 'traced.traffic_medium', 'traced.utm_campaign', 'source_categories.category') }}
            as channel
    from traced
    left join source_categories on traced.traffic_source = source_categories.traffic_source

)
{% endmacro %}

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
