-- Visitors who share a session, an order or an identity with a person who is erased.
insert into ops.visitors_to_rebuild (site_id, user_id)
select distinct others.site_id, others.user_id
from intermediate.int_visitor_links as theirs
inner join intermediate.int_visitor_links as others on theirs.site_id = others.site_id and theirs.link = others.link
where theirs.site_id = %(site)s and theirs.user_id = any(%(ids)s) and not others.user_id = any(%(ids)s)
on conflict do nothing
