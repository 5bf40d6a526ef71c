-- The purchases and refunds of an order, live and archived. Uses the index events_payload.
select
    e.event_type,
    e.created_at,
    e.user_id,
    case when jsonb_typeof(e.payload #> '{order,amount}') = 'number' then (e.payload #> '{order,amount}')::numeric end,
    case when jsonb_typeof(e.payload #> '{order,currency}') = 'string' then e.payload #>> '{order,currency}' end
from unnest(%(fragments)s::jsonb[]) as named (fragment)
inner join archive.all_events as e on e.payload @> named.fragment
where e.site_id = %(site)s and e.event_type in ('purchase', 'refund') and not e.is_bot
-- the webhook knows the amount, the browser may have been changed by its user
order by e.source <> 'webhook', e.created_at
