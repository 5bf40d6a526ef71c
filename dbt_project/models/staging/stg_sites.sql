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

        ---------- time zone: an unknown name would stop every model
        case when exists (select from pg_timezone_names as z where z.name = source.timezone) then timezone else 'UTC' end
            as timezone
    from source

)

select * from renamed
