{{ config(
    unique_key=['site_id', 'user_id', 'valid_from'],
    indexes=[
        {'columns': ['site_id', 'user_id', 'valid_from'], 'unique': true},
        {'columns': ['site_id', 'person_id']},
    ],
    meta={'built_by': 'visitor'},
    grants={'select': ['analyst', 'modeller', 'service_role'] if target.name == 'warehouse' else []},
) }}

with

links as (

    select * from {{ ref('int_visitor_links') }}
    where is_identity and is_counted

),

affected_links as (

    select * from links
    where {{ of_affected_visitors() }}

),

-- Account IDs and e-mail addresses that few enough visitors share
identities as (

    select
        site_id,
        link
    from (
        select distinct
            site_id,
            link
        from affected_links
    ) as sent
    where
        {{ visitors_who_share(ref('int_visitor_links'), 'sent.site_id', 'sent.link') }}
        <= {{ var('identifier_visitor_bound') }}

),

addresses as (

    select * from identities
    where link like 'email:%'

),

-- All sessions in which an address was sent, and all visitors who sent it
address_sessions as (

    select
        links.site_id,
        links.link,
        links.user_id,
        links.unit_started_at
    from addresses
    inner join links on addresses.site_id = links.site_id and addresses.link = links.link

),

-- An address was sent in the same session as exactly one account ID …
named_in_session as (

    select
        address_sessions.site_id,
        address_sessions.link,
        min(links.link) as account_id
    from address_sessions
    inner join links
        on
            address_sessions.site_id = links.site_id
            and address_sessions.user_id = links.user_id
            and address_sessions.unit_started_at = links.unit_started_at
            and links.link like 'external:%'
    group by address_sessions.site_id, address_sessions.link, address_sessions.user_id, address_sessions.unit_started_at
    having count(distinct links.link) = 1

),

-- … or by a visitor who ever sent only one address and one account ID.
named_by_visitor as (

    select
        address_visitors.site_id,
        address_visitors.link,
        min(links.link) filter (where links.link like 'external:%') as account_id
    from (
        select distinct
            site_id,
            link,
            user_id
        from address_sessions
    ) as address_visitors
    inner join links
        on address_visitors.site_id = links.site_id and address_visitors.user_id = links.user_id
    group by address_visitors.site_id, address_visitors.link, address_visitors.user_id
    having count(distinct links.link) = 2 and count(distinct links.link) filter (where links.link like 'external:%') = 1

),

-- An address belongs to an account if nothing names another account. Else it is an account by itself.
address_accounts as (

    select
        named.site_id,
        named.link,
        min(named.account_id) as account_id
    from (
        select * from named_in_session
        union all
        select * from named_by_visitor
    ) as named
    group by named.site_id, named.link
    having
        count(distinct named.account_id) = 1
        and {{ visitors_who_share(ref('int_visitor_links'), 'named.site_id', 'min(named.account_id)') }}
        <= {{ var('identifier_visitor_bound') }}

),

-- The account of a session: the last account ID that was sent in it, else the last address.
session_accounts as (

    select distinct on (affected_links.site_id, affected_links.user_id, affected_links.unit_started_at)
        affected_links.site_id,
        affected_links.user_id,
        affected_links.unit_started_at,
        coalesce(address_accounts.account_id, affected_links.link) as account_id
    from affected_links
    inner join identities on affected_links.site_id = identities.site_id and affected_links.link = identities.link
    left join address_accounts
        on affected_links.site_id = address_accounts.site_id and affected_links.link = address_accounts.link
    order by
        affected_links.site_id asc, affected_links.user_id asc, affected_links.unit_started_at asc,
        (affected_links.link like 'external:%') desc, affected_links.last_sent_at desc, affected_links.link asc

),

with_former_accounts as (

    select
        *,
        lag(account_id) over (partition by site_id, user_id order by unit_started_at) as former_account
    from session_accounts

),

-- An account is active from the session in which it was sent first; the visitor's first account also before.
changes_of_account as (

    select
        site_id,
        user_id,
        account_id,
        case when former_account is null then '-infinity' else unit_started_at end as valid_from
    from with_former_accounts
    where account_id is distinct from former_account

),

final as (

    select
        site_id,
        user_id,
        valid_from,
        coalesce(lead(valid_from) over (partition by site_id, user_id order by valid_from), 'infinity') as valid_to,
        md5(site_id || chr(31) || account_id) as person_id
    from changes_of_account

)

select * from final
