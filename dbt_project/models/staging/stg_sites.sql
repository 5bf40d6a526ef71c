with

source as (

    select * from {{ source('public', 'sites') }}

),

renamed as (

    select
        ---------- ids
        site_id,

        ---------- text
        name as site_name,
        domains,

        ---------- time zone: a name that Postgres does not know would stop every model
        case when timezone in (select zones.name from pg_timezone_names as zones) then timezone else 'UTC' end
            as timezone,

        ---------- money
        reporting_currency
    from source

)

select * from renamed
