{{ config(unique_key=['site_id', 'user_id'], indexes=[{'columns': ['site_id', 'user_id'], 'unique': true}]) }}

{%- set identities -%}
    select links.site_id, links.user_id, links.link
    from {{ ref('int_visitor_links') }} as links
    where
        links.is_identity
        and links.is_counted
        and {{ visitors_who_share(ref('int_visitor_links'), 'links.site_id', 'links.link') }}
        between 2 and {{ var('identifier_visitor_bound') }}
        and {{ of_affected_visitors() | replace('(site_id, user_id)', '(links.site_id, links.user_id)') }}
{%- endset %}

with

joined as (

    select
        site_id,
        user_id,
        person_id
    from {{ function_schema() }}.connected_components($links$ {{ identities }} $links$)

)

select * from joined
