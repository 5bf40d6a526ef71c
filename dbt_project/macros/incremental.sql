{#
    Incremental builds.

    The unit of recomputation is the session or, for an event without a session, the event. `int_affected_visitors` lists
    the visitors with changes, and for each visitor the time `since` from which a build recomputes what happened. No session
    has events on both sides of `since` (the list moves it to the start of overlapping sessions), and nothing before it can
    have changed. So a model that reads what happened since then gets all its rows of that time right. A model uses

    in_scope('events') to read the part of an input to recompute; in a full build it is `true`, so one body serves both;
    of_affected_visitors() to read all rows of the listed visitors, for the few models that need a visitor's history;
    the strategy `changed_rows`, which replaces the rows of this part (meta `moment` names the column with their time), or
    with meta `built_by: visitor` all rows of these visitors.

    Daily models do the same by days: of_changed_days(), and meta `built_by: day`. The models that feed them note the
    days of rows whose columns changed (meta `notes_days`).
#}

{# Whether this build replaces part of the model. #}
{% macro is_partial() %}
    {{ return(execute and model.resource_type == 'model' and is_incremental()) }}
{% endmacro %}

{#
    Overrides dbt's macro of this name. A model is fully rebuilt if its hash (`input_hash`) is not the hash of its last
    build. The list of affected visitors also reads models that dbt builds after it, so these must exist.
#}
{% macro should_full_refresh() %}
    {% if flags.FULL_REFRESH or not execute or config.get('materialized') != 'incremental' %}
        {{ return(flags.FULL_REFRESH) }}
    {% endif %}
    {% set others = config.get('meta', {}).get('reads_as_last_built', []) %}
    {% set stored = run_query(
        "select count(*) from " ~ state('watermarks')
        ~ " where model = '" ~ this.identifier ~ "' and input_hash = '" ~ input_hash() ~ "'"
        ~ " or model in ('" ~ others | join("', '") ~ "')"
    ) %}
    {{ return(stored.rows[0][0] < 1 + others | length) }}
{% endmacro %}

{#
    Hash of everything except data that the rows of this model depend on: the sources of the model and of the models and
    seeds that it reads, directly or not, the macros that these name, and the variables that these name. An edit therefore
    rebuilds the edited model and its descendants. The hash does not depend on the command that runs dbt. Macros of hooks
    and strategies are left out: they do not change what the rows are.
#}
{% macro input_hash() %}
    {%- set nodes, macros = {}, {} -%}
    {%- do collect_ancestors(model.unique_id, nodes) -%}
    {%- set known_macros = project_macros() -%}
    {%- for node in nodes.values() if node.resource_type == 'model' -%}
        {%- do collect_macros(node.raw_code, known_macros, macros) -%}
    {%- endfor -%}
    {%- set parts = [] -%}
    {%- for node in nodes.values() -%}
        {%- do parts.append(node.unique_id ~ ' ' ~ node.checksum.checksum) -%}
    {%- endfor -%}
    {%- for name, text in macros.items() -%}
        {%- do parts.append(name ~ ' ' ~ text) -%}
    {%- endfor -%}
    {%- set sources = (nodes.values() | map(attribute='raw_code') | list + macros.values() | list) | join('\n') -%}
    {%- for name in ('visitor_event_bound', 'session_hours_bound', 'identifier_visitor_bound', 'attribution_days')
        if name in sources -%}
        {%- do parts.append(name ~ ' ' ~ var(name)) -%}
    {%- endfor -%}
    {{ return(local_md5(parts | sort | join('\n'))) }}
{% endmacro %}

{# Add the node and the models and seeds that it reads, directly or not, to `found`. #}
{% macro collect_ancestors(unique_id, found) %}
    {%- set node = graph.nodes.get(unique_id) -%}
    {%- if node and unique_id not in found -%}
        {%- do found.update({unique_id: node}) -%}
        {%- for parent_id in node.depends_on.get('nodes', []) -%}
            {%- do collect_ancestors(parent_id, found) -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}

{# Source of each macro of this project, by name. dbt's graph has no macros, but its macro objects have their source. #}
{% macro project_macros() %}
    {%- set found = {} -%}
    {%- for name, object in context.items() if object.macro is defined -%}
        {%- if object.macro.package_name == project_name -%}
            {%- do found.update({name: object.macro.macro_sql}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}

{# Add the source of the macros that `text` names, and of the macros that these name, to `found`. #}
{% macro collect_macros(text, known_macros, found) %}
    {%- for name, source in known_macros.items() if name ~ '(' in text and name not in found -%}
        {%- do found.update({name: source}) -%}
        {%- do collect_macros(source, known_macros, found) -%}
    {%- endfor -%}
{% endmacro %}

{# Condition: the row of `relation` is part of what this build recomputes. `moment` is the column with its time. #}
{% macro in_scope(relation, moment='occurred_at') -%}
    {%- if model.resource_type == 'model' %}{% set affected = ref('int_affected_visitors') %}{% endif -%}
    {%- if is_partial() -%}
        exists (
            select from {{ affected }} as scope
            where
                scope.site_id = {{ relation }}.site_id
                and scope.user_id = {{ relation }}.user_id
                and {{ relation }}.{{ moment }} >= scope.since
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{#
    Condition: the visitor is listed. Visitors whose persons changed and nothing else have an infinite `since`;
    `with_changed_events` leaves them out.
#}
{% macro of_affected_visitors(with_changed_events=false) -%}
    {%- if model.resource_type == 'model' %}{% set affected = ref('int_affected_visitors') %}{% endif -%}
    {%- if is_partial() -%}
        (site_id, user_id) in (
            select affected.site_id, affected.user_id from {{ affected }} as affected
            {%- if with_changed_events %} where affected.since < 'infinity'{% endif %}
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{% macro of_changed_days(day) -%}
    {%- if is_partial() -%}
        (site_id, {{ day }}) in (
            select days.site_id, days.day from {{ state('days_to_rebuild') }} as days
            where days.model = '{{ this.identifier }}' and days.is_taken
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{#
    Condition on `loaded_at`: what this model may not have read yet. Transactions that land events are shorter than 15
    minutes.
#}
{% macro is_newly_loaded() -%}
    {%- set watermark = run_query(
        "select loaded_at from " ~ state('watermarks') ~ " where model = '" ~ this.identifier ~ "'"
    ) -%}
    {%- set loaded_at = watermark.rows[0][0] if watermark.rows | length else none -%}
    {%- if loaded_at -%}loaded_at > '{{ loaded_at }}'::timestamptz - interval '15 minutes'{%- else -%}true{%- endif -%}
{%- endmacro %}

{# Table of an intermediate model as the last build left it, where a ref would make a cycle. #}
{% macro as_last_built(name) -%}
    {{ api.Relation.create(
        database=this.database, schema=generate_schema_name('intermediate', none), identifier=name
    ) }}
{%- endmacro %}

{#
    In a full build: the rows of this model whose events Postgres no longer holds, because their month is only a Parquet
    file. A column that the old table lacks, because an upgrade added the column, is null in these rows. Without an old
    table these months are left out, with a warning.
#}
{% macro kept_cold_events(columns) -%}
    {%- if execute and model.resource_type == 'model' and not is_partial() -%}
        {%- set months = run_query(
            "select to_char(month, 'YYYY-MM') from archive.cold_files where dropped_at is not null order by 1"
        ).columns[0].values() -%}
        {%- set built = adapter.get_relation(this.database, this.schema, this.identifier) -%}
        {%- if months and not (built and built.is_table) -%}
            {%- do exceptions.warn(
                'This first build leaves out months that exist only as files. To include them: tilda restore '
                ~ months | join(', ')
            ) -%}
        {%- elif months -%}
            {%- set built_columns = adapter.get_columns_in_relation(built) | map(attribute='name') | list -%}
            union all
            select
                {% for column in columns -%}
                {{ column if column in built_columns else 'null as ' ~ column }}{{ ', ' if not loop.last }}
                {% endfor %}
            from {{ this }} as kept
            where exists (
                select from archive.cold_files as cold
                where
                    cold.dropped_at is not null
                    and kept.created_at >= cold.month::timestamp at time zone 'UTC'
                    and kept.created_at < (cold.month + interval '1 month')::timestamp at time zone 'UTC'
            )
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{# Names of the models that are built by day. #}
{% macro daily_models() %}
    {%- set names = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.config.meta.built_by == 'day' -%}
        {%- do names.append(node.name) -%}
    {%- endfor -%}
    {{ return(names | sort) }}
{% endmacro %}

{# Names of the incremental models that `node` reads, through views. #}
{% macro incremental_parents(node) %}
    {%- set names = [] -%}
    {%- for parent_id in node.depends_on.nodes if parent_id.startswith('model.') -%}
        {%- set parent = graph.nodes[parent_id] -%}
        {%- if parent.config.materialized == 'incremental' -%}
            {%- do names.append(parent.name) -%}
        {%- elif parent.config.materialized == 'view' -%}
            {%- do names.extend(incremental_parents(parent)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(names) }}
{% endmacro %}

{#
    Before a build: settings of the transaction, and the days to work on. Sorts and hashes stay in memory; compiling the
    expressions would take longer than running them. The keys of all joins contain site_id, which alone has few values: a
    merge join that sorts by the site only compares all visitors with all, and the planner underestimates it. Nested loops
    are for few rows; in a full build the planner chooses them for tables without statistics, and 4,000 events took minutes.
#}
{% macro prepare_build() -%}
    set local work_mem = '128MB'; set local jit = off; set local enable_mergejoin = off;
    {%- if not is_partial() %} set local enable_nestloop = off;{% endif %}
    {%- if execute and config.get('materialized') == 'incremental' -%}
        {%- set options = model.config.meta %}
        {%- if options.built_by == 'day' %}
            update {{ state('days_to_rebuild') }} set is_taken = true where model = '{{ this.identifier }}';
            analyze {{ state('days_to_rebuild') }};
        {%- endif %}
        {%- if options.notes_days and not is_partial() %}
            -- a full build does not know which days changed
            delete from {{ state('watermarks') }} where model in ('{{ options.notes_days.models | join("', '") }}');
        {%- endif %}
    {%- endif %}
{%- endmacro %}

{#
    After a build, in its transaction: note how far the model has read, which is how far all its inputs have. Then let the
    views that read the table's predecessor read the table.
#}
{% macro finish_build() -%}
    {%- if execute and config.get('materialized') == 'incremental' -%}
        {%- set names = incremental_parents(model) | unique | list %}
        {%- if names %}
        insert into {{ state('watermarks') }} (model, loaded_at, build, input_hash)
        select '{{ this.identifier }}', min(loaded_at), min(build), '{{ input_hash() }}'
        from {{ state('watermarks') }} where model in ('{{ names | join("', '") }}')
        on conflict (model) do update set
            loaded_at = excluded.loaded_at, build = excluded.build, input_hash = excluded.input_hash, updated_at = now();
        {%- endif %}
        {%- if model.config.meta.built_by == 'day' %}
            delete from {{ state('days_to_rebuild') }} where model = '{{ this.identifier }}' and is_taken;
        {%- endif %}
        {%- if not is_partial() %}
            {{ keep_views() }}
        {%- endif %}
    {%- endif %}
{%- endmacro %}

{#
    In the transaction in which dbt puts a new table in place of the old one: let the views on the old table read the new
    one. dbt then drops the old table with everything that depends on it, so without this readers would find no view until
    dbt has built it again. A view that the new table does not fit is left to dbt.
#}
{% macro keep_views() -%}
    {%- set old = make_backup_relation(this, 'table') %}
    do $body$
    declare
        dependent record;
    begin
        for dependent in
            select distinct
                rewrite.ev_class::regclass as view,
                pg_get_viewdef(rewrite.ev_class) as definition,
                coalesce('with (' || array_to_string(view.reloptions, ', ') || ')', '') as options
            from pg_depend as depend
            inner join pg_rewrite as rewrite on rewrite.oid = depend.objid
            inner join pg_class as view on view.oid = rewrite.ev_class and view.relkind = 'v'
            where
                depend.classid = 'pg_rewrite'::regclass
                and depend.refobjid = to_regclass('{{ old.include(database=false) }}')
        loop
            begin
                execute format(
                    'create or replace view %s %s as %s', dependent.view, dependent.options,
                    replace(
                        dependent.definition, format('%I.%I', '{{ old.schema }}', '{{ old.identifier }}'),
                        format('%I.%I', '{{ this.schema }}', '{{ this.identifier }}')
                    )
                );
            exception when others then
                raise notice '% will be built again: %', dependent.view, sqlerrm;
            end;
        end loop;
    end
    $body$;
{%- endmacro %}

{#
    After the transaction: dbt dropped the old table and takes the views of `keep_views` for dropped too. Put those that
    exist back into its cache of relations. `finish_build` has noted the new hash, so `is_partial` is no longer false here.
#}
{% macro remember_views() -%}
    {%- if execute and config.get('materialized') == 'incremental' -%}
        {%- set views = run_query(
            "select distinct namespace.nspname, view.relname from pg_depend as depend"
            " inner join pg_rewrite as rewrite on rewrite.oid = depend.objid"
            " inner join pg_class as view on view.oid = rewrite.ev_class and view.relkind = 'v'"
            " inner join pg_namespace as namespace on namespace.oid = view.relnamespace"
            " where depend.classid = 'pg_rewrite'::regclass and depend.refobjid = to_regclass('"
            ~ this.include(database=false) ~ "')"
        ) -%}
        {%- for schema, name in views.rows -%}
            {%- set view = api.Relation.create(database=this.database, schema=schema, identifier=name, type='view') -%}
            {%- if load_cached_relation(view) is none -%}{%- do adapter.cache_added(view) -%}{%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{#
    Strategy: delete the rows in scope that no longer exist or that changed, and insert rows that are new or changed. dbt's
    own delete+insert keeps rows that no longer exist: two sessions become one when an event between them arrives late. The
    scope is what happened to the listed visitors since `since` (the default), all their rows (`built_by: visitor`), days
    (`built_by: day`), or what happened to them since then and all rows that the model returns (`built_by: row`). `unique_key` finds the pairs.
#}
{% macro get_incremental_changed_rows_sql(arg_dict) %}
    {%- set target, temp = arg_dict.target_relation, arg_dict.temp_relation -%}
    {%- set columns = arg_dict.dest_columns | map(attribute='quoted') | list -%}
    {%- set options = model.config.meta -%}
    {%- set days = options.notes_days -%}
    {%- set is_same -%}
        {%- for key in arg_dict.unique_key %}old.{{ key }} = new.{{ key }} and {% endfor %}
        ({% for column in columns %}old.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
        is not distinct from ({% for column in columns %}new.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
    {%- endset -%}
    {%- set is_in_scope -%}
        {%- if options.built_by == 'day' -%}
            {{ of_changed_days(arg_dict.unique_key[1]) }}
        {%- elif options.built_by == 'visitor' -%}
            {{ of_affected_visitors(options.get('with_changed_events', false)) }}
        {%- elif options.built_by == 'row' -%}
            (
                {{ in_scope('old', options.get('moment', 'occurred_at')) }}
                or exists (
                    select from {{ temp }} as built
                    where {% for key in arg_dict.unique_key %}{% if not loop.first %} and {% endif %}built.{{ key }} = old.{{ key }}{% endfor %}
                )
            )
        {%- else -%}
            {{ in_scope('old', options.get('moment', 'occurred_at')) }}
        {%- endif -%}
    {%- endset -%}
    analyze {{ temp }};
    {% if days %}with changed as ({% endif %}
    delete from {{ target }} as old
    where
        {{ is_in_scope }}
        and not exists (select from {{ temp }} as new where {{ is_same }})
    {% if days %}returning site_id, {{ days.column }} as day) {{ note_days(days) }}{% endif %};
    {% if days %}with changed as ({% endif %}
    insert into {{ target }} ({{ columns | join(', ') }})
    select {{ columns | join(', ') }} from {{ temp }} as new
    -- the scope bounds what is read of the table; without it a key without an index would read all rows
    where not exists (select from {{ target }} as old where {{ is_in_scope }} and {{ is_same }})
    {% if days %}returning site_id, {{ days.column }} as day) {{ note_days(days) }}{% endif %}
{% endmacro %}

{% macro note_days(days) -%}
    insert into {{ state('days_to_rebuild') }} (model, site_id, day)
    select distinct noted.model, changed.site_id, changed.day
    from changed
    cross join unnest(array['{{ days.models | join("', '") }}']) as noted (model)
{%- endmacro %}
