-- The currency of a site's reports. An order without a currency has this one.

-- Existing sites get the most frequent currency of their purchases of the last 35 days. The events are read before the
-- table of sites is locked, because the API reads that table for each key that it does not know.
create temporary table most_frequent_currencies on commit drop as
select
    sites.site_id,
    coalesce(
        (
            select mode() within group (order by upper(e.payload #>> '{order,currency}'))
            from public.events as e
            where
                e.site_id = sites.site_id and e.event_type = 'purchase' and not e.is_bot
                and e.created_at > now() - interval '35 days'
                and upper(e.payload #>> '{order,currency}') ~ '^[A-Z]{3}$'
        ),
        'RUB'
    ) as currency
from public.sites as sites;

do $$
begin
    perform ops.lock_within(array['public.sites']::regclass[], longest_ms => 1000);
end
$$;

alter table public.sites add column reporting_currency text not null default 'RUB';

update public.sites as sites
set reporting_currency = found.currency
from most_frequent_currencies as found
where sites.site_id = found.site_id and found.currency <> 'RUB';

alter table public.sites
add constraint sites_reporting_currency_is_iso_4217 check ((reporting_currency ~ '^[A-Z]{3}$') is true);
comment on column public.sites.reporting_currency is
'ISO 4217 code of the currency of the site''s reports; an order without a currency has this one.';
