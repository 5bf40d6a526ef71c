{# Maintenance of the list of affected visitors, `int_affected_visitors`. #}

{#
    Before the list is made: pass the days of erased events to the daily models, and list all visitors of a site whose time
    zone, domains or reporting currency changed. Without a list no model can know what it has not read yet, so a new list makes all models
    rebuild fully.
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
        -- the day, and the first days of its week and month
        cross join lateral unnest(array[
            erased.event_date,
            date_trunc('week', erased.event_date)::date,
            date_trunc('month', erased.event_date)::date
        ]) as changed (day);
        with sites as (
            select site_id, md5(concat_ws(chr(31), timezone, domains::text, reporting_currency)) as settings from {{ sites }}
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
            -- quarantined visitors have no rows to rebuild
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

{# After the list is made: note the newest event that it has read, and remove the requests that it has taken. #}
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

{#
    Strategy of the list: a visitor stays listed, with the earliest `since` of all builds, until every model has read the
    visitor's changes.
#}
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
    insert into {{ target }} as listed (site_id, user_id, since, build)
    select site_id, user_id, since, build from {{ temp }}
    on conflict (site_id, user_id) do update set
        since = least(listed.since, excluded.since), build = excluded.build
{% endmacro %}

{#
    Scalar subquery: the time from which the units of a visitor must be recomputed if something changes at `moment`. This is
    the start of the chain of overlapping sessions that reaches `moment`; without one, `moment`. A session overlaps with what
    happens until 30 minutes after its last activity, and until its last event. Sessions are read as the last build left
    them: the sessions of visitors whose models an interrupted build has not finished are older, but these visitors are
    still listed, with a `since` before those sessions.
#}
{% macro start_of_overlap(site_id, user_id, moment) -%}
    (
        select
            case
                when max(overlap.reaches_to) >= {{ moment }} then max(overlap.chain_started_at)
                else {{ moment }}
            end
        from (
            select
                session.reaches_to,
                case
                    when (
                        session.started_at > max(session.reaches_to) over (
                            order by session.started_at rows between unbounded preceding and 1 preceding
                        )
                    ) is not false then session.started_at
                end as chain_started_at
            from (
                select
                    starts.started_at,
                    greatest(starts.ended_at + interval '30 minutes', starts.last_event_at) as reaches_to
                from {{ as_last_built('int_session_starts') }} as starts
                where
                    starts.site_id = {{ site_id }} and starts.user_id = {{ user_id }}
                    and starts.started_at <= {{ moment }}
                union all
                select
                    quarantine.started_at,
                    quarantine.last_event_at + interval '30 minutes'
                from {{ as_last_built('int_quarantine') }} as quarantine
                where
                    quarantine.site_id = {{ site_id }} and quarantine.user_id = {{ user_id }}
                    and quarantine.reason = 'session'
                    and quarantine.started_at <= {{ moment }}
            ) as session
        ) as overlap
    )
{%- endmacro %}

{#
    CTE `name`: the units (site_id, user_id, since) of `relation`, and the units that share an event ID with them or with a
    unit reached before. Copies of one event are recomputed together, because one of them counts.
#}
{% macro united_by_copies(name, relation, links) -%}
{{ name }} as (

    select site_id, user_id, since from {{ relation }}
    union
    select
        linked.site_id,
        linked.user_id,
        {{ start_of_overlap('linked.site_id', 'linked.user_id', 'linked.unit_started_at') }} as since
    from {{ name }} as reached
    cross join lateral (
        select others.site_id, others.user_id, others.unit_started_at
        from {{ links }} as own
        inner join {{ links }} as others on own.site_id = others.site_id and own.link = others.link
        where
            own.site_id = reached.site_id and own.user_id = reached.user_id
            and own.unit_started_at >= reached.since
            and own.link like 'event:%'
            and (others.user_id <> own.user_id or others.unit_started_at < reached.since)
    ) as linked

)
{%- endmacro %}
