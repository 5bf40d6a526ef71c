{#
    {{ function_schema() }}.connected_components(links): the persons behind the visitors that `links` (a query of site_id, user_id,
    link) joins by shared links. The id of a person is its smallest user_id; visitors without one come last.

    Each visitor takes the smallest label among those with whom it shares a link, then that of the visitor whose label
    it has: the second halves what is left of a chain, so a chain of n visitors takes about log n rounds.
#}
{% macro create_connected_components() %}
{% if execute %}
-- one maker at a time: two dbt processes that replace a function at once fail
select pg_advisory_xact_lock(hashtextextended('tilda.dbt_functions', 0));
create schema if not exists {{ function_schema() }};

create or replace function {{ function_schema() }}.connected_components(links text)
returns table (site_id text, user_id text, person_id text)
language plpgsql
as $body$
declare
    moved bigint;
begin
    drop table if exists pg_temp.component_links, pg_temp.component_members;
    execute 'create temp table component_links on commit drop as ' || links;
    -- names sort before nameless visitors, byte by byte whatever the database's collation
    create temp table component_members on commit drop as
    select distinct
        l.site_id,
        (case when l.user_id like 'anonymous:%' then '1' else '0' end || l.user_id) collate "C" as member,
        (case when l.user_id like 'anonymous:%' then '1' else '0' end || l.user_id) collate "C" as label
    from component_links as l;
    alter table component_links add column member text collate "C";
    update component_links as l
    set member = case when l.user_id like 'anonymous:%' then '1' else '0' end || l.user_id;
    analyze component_links;
    analyze component_members;
    loop
        update component_members as m
        set label = smallest.label
        from (
            select l.site_id, l.member, min(shared.label) as label
            from component_links as l
            inner join (
                select o.site_id, o.link, min(n.label) as label
                from component_links as o
                inner join component_members as n on n.site_id = o.site_id and n.member = o.member
                group by o.site_id, o.link
            ) as shared on shared.site_id = l.site_id and shared.link = l.link
            group by l.site_id, l.member
        ) as smallest
        where smallest.site_id = m.site_id and smallest.member = m.member and smallest.label < m.label;
        get diagnostics moved = row_count;
        exit when moved = 0;
        update component_members as m
        set label = n.label
        from component_members as n
        where n.site_id = m.site_id and n.member = m.label and n.label < m.label;
    end loop;
    return query
    select m.site_id, substr(m.member, 2)::text, substr(m.label, 2)::text from component_members as m;
end
$body$;
{% endif %}
{% endmacro %}
