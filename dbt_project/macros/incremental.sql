{#
    Incremental builds. `int_affected_visitors` lists whose events arrived, closed under everything by which events of one
    visitor reach rows of another. So a model that takes in the events of the listed visitors alone gets all rows of
    these visitors right, and the rows of all others cannot have changed. A model says it by two words:

    of_affected_visitors() narrows an input to them; in a full build it is `true`, so that one body serves both;
    the strategy `changed_rows` puts the rows in place of those that the table holds of them.

    Daily models do the same by days: of_changed_days(), and meta `built_by: day`. The models that feed them note the
    days of the rows that they change (meta `notes_days`).
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
    seeds that it reads, directly or not, the macros that they call, and the variables that these name. An edit therefore
    rebuilds the edited model and its descendants. The hash does not depend on the command that runs dbt.
#}
{% macro input_hash() %}
    {%- set nodes, macros = {}, {} -%}
    {%- do collect_ancestors(model.unique_id, nodes) -%}
    {%- for node in nodes.values() -%}
        {%- for macro_id in node.depends_on.get('macros', []) -%}
            {%- do collect_macros(macro_id, macros) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set parts = [] -%}
    {%- for node in nodes.values() -%}
        {%- do parts.append(node.unique_id ~ ' ' ~ node.checksum.checksum) -%}
    {%- endfor -%}
    {%- for macro_id, text in macros.items() -%}
        {%- do parts.append(macro_id ~ ' ' ~ text) -%}
    {%- endfor -%}
    {%- set sources = (nodes.values() | map(attribute='raw_code') | list + macros.values() | list) | join('\n') -%}
    {%- for name in ('visitor_event_bound', 'session_hours_bound', 'identifier_visitor_bound') if name in sources -%}
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

{# Add the source of the macro and of the macros that it calls to `found`. Macros of dbt itself are left out. #}
{% macro collect_macros(macro_id, found) %}
    {%- set package, name = macro_id.split('.')[1], macro_id.split('.')[-1] -%}
    {%- if package == project_name and macro_id not in found -%}
        {#- dbt's graph has no macros; the macro object has its source -#}
        {%- set definition = context[name].macro -%}
        {%- do found.update({macro_id: definition.macro_sql}) -%}
        {%- for called_id in definition.depends_on.macros -%}
            {%- do collect_macros(called_id, found) -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}

{% macro of_affected_visitors(user_id='user_id') -%}
    {%- if model.resource_type == 'model' %}{% set affected = ref('int_affected_visitors') %}{% endif -%}
    {%- if is_partial() -%}
        (site_id, {{ user_id }}) in (select affected.site_id, affected.user_id from {{ affected }} as affected)
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

{# Condition on `loaded_at`: what this model cannot have read yet. Transactions that land events are shorter than 15 minutes. #}
{% macro is_newly_loaded() -%}
    {%- set watermark = run_query(
        "select loaded_at from " ~ state('watermarks') ~ " where model = '" ~ this.identifier ~ "'"
    ) -%}
    {%- set loaded_at = watermark.rows[0][0] if watermark.rows | length else none -%}
    {%- if loaded_at -%}loaded_at > '{{ loaded_at }}'::timestamptz - interval '15 minutes'{%- else -%}true{%- endif -%}
{%- endmacro %}

{# Table of a later model as the last build left it: a ref would be a circle. #}
{% macro as_last_built(name) -%}
    {{ api.Relation.create(database=this.database, schema=generate_schema_name('intermediate', none), identifier=name) }}
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

{# Before a build: settings, and the days to work on. #}
{% macro prepare_build() -%}
    {%- if is_partial() -%}
        {#- a merge join on the site alone compares all rows with all -#}
        set local work_mem = '128MB'; set local jit = off; set local enable_mergejoin = off;
        {%- if this.identifier != 'int_affected_visitors' %}
        -- few visitors are found by index; many, after an import, by reading whole tables as a full build does
        select set_config('enable_nestloop', (affected.visitors <= stored.sessions / 10)::text, true)
        from (select count(*) as visitors from {{ as_last_built('int_affected_visitors') }}) as affected
        cross join (
            select reltuples as sessions from pg_class where oid = '{{ as_last_built('int_session_starts') }}'::regclass
        ) as stored;
        {%- endif %}
    {%- else -%}
        {{ whole_tables() }}
    {%- endif %}
    {%- if execute and config.get('materialized') == 'incremental' -%}
        {%- set options = model.config.meta %}
        {%- if options.built_by == 'day' %}
            update {{ state('days_to_rebuild') }} set is_taken = true where model = '{{ this.identifier }}';
            analyze {{ state('days_to_rebuild') }};
        {%- endif %}
        {%- if options.notes_days and not is_partial() %}
            -- which days changed is not known then
            delete from {{ state('watermarks') }} where model in ('{{ options.notes_days.models | join("', '") }}');
        {%- endif %}
    {%- endif %}
{%- endmacro %}

{# After a build, in its transaction: how far the model has got is how far all that it reads have. #}
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
    {%- endif %}
{%- endmacro %}

{#
    Strategy: of the rows of the affected visitors (`built_by: visitor`, the default; `person`) or days, those that are no
    more or other than before are deleted, those that are new or other are inserted. `unique_key` finds the pairs.
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
        {%- else -%}
            {{ of_affected_visitors('person_id' if options.built_by == 'person' else 'user_id') }}
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
    -- the condition that bounds what is read of the table; without it a key that has no index costs a look at all rows
    where not exists (select from {{ target }} as old where {{ is_in_scope }} and {{ is_same }})
    {% if days %}returning site_id, {{ days.column }} as day) {{ note_days(days) }}{% endif %}
{% endmacro %}

{% macro note_days(days) -%}
    insert into {{ state('days_to_rebuild') }} (model, site_id, day)
    select distinct noted.model, changed.site_id, changed.day
    from changed
    cross join unnest(array['{{ days.models | join("', '") }}']) as noted (model)
{%- endmacro %}
