{# A number of the payload, kept within bounds; null when the sender put something else there. `path` is 'a,b'. #}
{% macro payload_number(path, low, high) -%}
    case
        when jsonb_typeof(payload #> '{{ "{" ~ path ~ "}" }}') = 'number'
            then greatest(least((payload #>> '{{ "{" ~ path ~ "}" }}')::numeric, {{ high }}), {{ low }})
    end
{%- endmacro %}

{# A short text of the payload; longer ones are no identifiers and are left out. #}
{% macro payload_text(path, longest=128) -%}
    case
        when length(payload #>> '{{ "{" ~ path ~ "}" }}') between 1 and {{ longest }}
            then payload #>> '{{ "{" ~ path ~ "}" }}'
    end
{%- endmacro %}
