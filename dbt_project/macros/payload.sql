{#
    Parts of the payload, of the events that can have them (`only`: a condition). What a sender put there against the
    contract is null, or kept within bounds; a cast never fails. `path` is 'a,b'.
#}
{% macro payload_number(path, low, high, only) -%}
case
            when {{ only }} and jsonb_typeof(payload #> '{{ "{" ~ path ~ "}" }}') = 'number'
                then greatest(least((payload #>> '{{ "{" ~ path ~ "}" }}')::numeric, {{ high }}), {{ low }})
        end
{%- endmacro %}

{# Longer texts are no identifiers and are left out. #}
{% macro payload_text(path, longest=128, only='true') -%}
case
            when {{ only }} and length(payload #>> '{{ "{" ~ path ~ "}" }}') between 1 and {{ longest }}
                then payload #>> '{{ "{" ~ path ~ "}" }}'
        end
{%- endmacro %}
