-- No query uses this index: sessions are found by their id, and by their visitor (sessions_user).
drop index public.sessions_started;
