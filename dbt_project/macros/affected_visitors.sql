{# How the list of affected visitors is kept. #}

{#
    Before the list is made: days whose events were erased go to the daily models; the visitors of a site whose time zone
    or domains have changed are to be rebuilt. Without a list no model can know what it has missed, so a new list is the
    beginning of a full build of all.
#}
{% macro prepare_list() -%}
    {%- set sites = ref('stg_sites') -%}
    {%- if execute %}
        {%- if not is_partial() %}
            delete from {{ state('watermarks') }};
            delete from {{ state('visitors_to_rebuild') }};
            delete from {{ state('site_settings') }};
        {%- endif %}
        with erased as (
            delete from {{ state('rebuild_days') }} returning site_id, event_date
        )
        insert into {{ state('days_to_rebuild') }} (model, site_id, day)
        select distinct daily.model, erased.site_id, changed.day
        from erased
        cross join unnest(array['{{ daily_models() | join("', '") }}']) as daily (model)
        -- the day, and the week and the month that it lies in, which are known by their first days
        cross join lateral unnest(array[
            erased.event_date,
            date_trunc('week', erased.event_date)::date,
            date_trunc('month', erased.event_date)::date
        ]) as changed (day);
        with sites as (
            select site_id, md5(concat_ws(chr(31), timezone, domains::text)) as settings from {{ sites }}
        ),
        removed as (
            delete from {{ state('site_settings') }} where site_id not in (select sites.site_id from sites) returning site_id
        ),
        changed as (
            insert into {{ state('site_settings') }} as known (site_id, settings)
            select site_id, settings from sites
            on conflict (site_id) do update set settings = excluded.settings
            where known.settings <> excluded.settings
            returning site_id
        )
        {% if is_partial() %}
            insert into {{ state('visitors_to_rebuild') }} (site_id, user_id)
            select distinct events.site_id, events.user_id
            from {{ as_last_built('int_events_sessionised') }} as events
            where events.site_id in (select site_id from removed union all select site_id from changed)
            on conflict do nothing;
            -- who is set apart has no rows
            delete from {{ state('visitors_to_rebuild') }} as asked
            using {{ as_last_built('int_quarantine') }} as quarantine
            where
                asked.site_id = quarantine.site_id and asked.user_id = quarantine.user_id
                and quarantine.reason = 'visitor';
        {% else %}
            select from changed;
        {% endif %}
    {%- endif %}
{%- endmacro %}

{# After it: the mark moves to the newest event, and what was asked for is on the list. #}
{% macro finish_list() -%}
    {%- set events = ref('stg_events') -%}
    {%- if execute %}
        insert into {{ state('watermarks') }} (model, loaded_at, build, input_hash)
        select
            '{{ this.identifier }}',
            (select max(loaded_at) from {{ events }} where {{ is_newly_loaded() }}),
            1,
            '{{ input_hash() }}'
        on conflict (model) do update set
            loaded_at = greatest(watermarks.loaded_at, excluded.loaded_at),
            build = watermarks.build + 1,
            input_hash = excluded.input_hash,
            updated_at = now();
        delete from {{ state('visitors_to_rebuild') }} as asked
        using {{ this }} as affected
        where asked.site_id = affected.site_id and asked.user_id = affected.user_id;
        analyze {{ this }};
    {%- endif %}
{%- endmacro %}

{# Strategy of the list: visitors stay on it until every model has taken them in. #}
{% macro get_incremental_work_list_sql(arg_dict) %}
    {%- set target, temp = arg_dict.target_relation, arg_dict.temp_relation -%}
    {%- set names = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.config.materialized == 'incremental' -%}
        {%- if node.name != this.identifier %}{% do names.append(node.name) %}{% endif -%}
    {%- endfor -%}
    delete from {{ target }}
    where build <= (
        select min(build) from {{ state('watermarks') }}
        where model in ('{{ names | join("', '") }}')
    );
    delete from {{ target }} as listed
    using {{ temp }} as affected
    where listed.site_id = affected.site_id and listed.user_id = affected.user_id;
    insert into {{ target }} (site_id, user_id, build) select site_id, user_id, build from {{ temp }}
{% endmacro %}
