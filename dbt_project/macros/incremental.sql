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
    Takes the place of dbt's macro of this name: a model that was built from something other than events that has changed
    since (SQL, seeds, bounds) is rebuilt whole.
#}
{% macro should_full_refresh() %}
    {% if flags.FULL_REFRESH or not execute or config.get('materialized') != 'incremental' %}
        {{ return(flags.FULL_REFRESH) }}
    {% endif %}
    {#- the list reads models as the last build left them: without one of these it is none -#}
    {% set needed = [this.identifier] + config.get('meta', {}).get('reads_as_last_built', []) %}
    {% set stored = run_query(
        "select count(*) from ops.watermarks where input_hash = '" ~ input_hash() ~ "' and model in ('"
        ~ needed | join("', '") ~ "')"
    ) %}
    {{ return(stored.rows[0][0] < needed | length) }}
{% endmacro %}

{#
    Hash of what models are made from besides events and sites. dbt does not show macros their own text, so whoever runs
    dbt hands over its hash (`orchestration.lib.dbt.dbt_environment`). A run without it is another input: whole.
#}
{% macro input_hash() %}
    {%- set parts = [env_var('DBT_MACROS_HASH', '')] -%}
    {%- for name in ('visitor_event_bound', 'session_hours_bound', 'identifier_visitor_bound') -%}
        {%- do parts.append(name ~ ' ' ~ var(name)) -%}
    {%- endfor -%}
    {%- for node in graph.nodes.values() if node.resource_type in ('model', 'seed') -%}
        {%- do parts.append(node.unique_id ~ ' ' ~ node.checksum.checksum) -%}
    {%- endfor -%}
    {{ return(local_md5(parts | sort | join('\n'))) }}
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
            select days.site_id, days.day from ops.days_to_rebuild as days
            where days.model = '{{ this.identifier }}' and days.is_taken
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# Condition on `loaded_at`: what this model cannot have read yet. Transactions that land events are shorter than 15 minutes. #}
{% macro is_newly_loaded() -%}
    {%- set watermark = run_query("select loaded_at from ops.watermarks where model = '" ~ this.identifier ~ "'") -%}
    {%- set loaded_at = watermark.rows[0][0] if watermark.rows | length else none -%}
    {%- if loaded_at -%}loaded_at > '{{ loaded_at }}'::timestamptz - interval '15 minutes'{%- else -%}true{%- endif -%}
{%- endmacro %}

{# Table of a later model as the last build left it: a ref would be a circle. #}
{% macro as_last_built(name) -%}
    {{ api.Relation.create(database=this.database, schema=this.schema, identifier=name) }}
{%- endmacro %}

{#
    In a full build, the events that Postgres no longer holds, since their month went to a file and its table was dropped:
    read from the model itself. Without a model to keep them from they are missed, and that is said.
#}
{% macro kept_cold_events(columns) -%}
    {%- if execute and model.resource_type == 'model' and not is_partial() -%}
        {%- set months = run_query(
            "select to_char(month, 'YYYY-MM') from archive.cold_files where dropped_at is not null order by 1"
        ).columns[0].values() -%}
        {%- set built = adapter.get_relation(this.database, this.schema, this.identifier) -%}
        {%- if months and not (built and built.is_table) -%}
            {%- do exceptions.warn(
                'Months that are files only are left out of this first build. To have them in: tilda restore '
                ~ months | join(', ')
            ) -%}
        {%- elif months -%}
            union all
            select {{ columns }}
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
        from (select count(*) as visitors from intermediate.int_affected_visitors) as affected
        cross join (
            select reltuples as sessions from pg_class where oid = 'intermediate.int_session_starts'::regclass
        ) as stored;
        {%- endif %}
    {%- else -%}
        {{ whole_tables() }}
    {%- endif %}
    {%- if execute and config.get('materialized') == 'incremental' -%}
        {%- set options = model.config.meta %}
        {%- if options.built_by == 'day' %}
            update ops.days_to_rebuild set is_taken = true where model = '{{ this.identifier }}';
            analyze ops.days_to_rebuild;
        {%- endif %}
        {%- if options.notes_days and not is_partial() %}
            -- which days changed is not known then
            delete from ops.watermarks where model in ('{{ options.notes_days.models | join("', '") }}');
        {%- endif %}
    {%- endif %}
{%- endmacro %}

{# After a build, in its transaction: how far the model has got is how far all that it reads have. #}
{% macro finish_build() -%}
    {%- if execute and config.get('materialized') == 'incremental' -%}
        {%- set names = incremental_parents(model) | unique | list %}
        {%- if names %}
        insert into ops.watermarks (model, loaded_at, build, input_hash)
        select '{{ this.identifier }}', min(loaded_at), min(build), '{{ input_hash() }}'
        from ops.watermarks where model in ('{{ names | join("', '") }}')
        on conflict (model) do update set
            loaded_at = excluded.loaded_at, build = excluded.build, input_hash = excluded.input_hash, updated_at = now();
        {%- endif %}
        {%- if model.config.meta.built_by == 'day' %}
            delete from ops.days_to_rebuild where model = '{{ this.identifier }}' and is_taken;
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
    insert into ops.days_to_rebuild (model, site_id, day)
    select distinct noted.model, changed.site_id, changed.day
    from changed
    cross join unnest(array['{{ days.models | join("', '") }}']) as noted (model)
{%- endmacro %}
