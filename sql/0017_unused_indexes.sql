-- No query uses this index: queries find sessions by session ID or by visitor (sessions_user).
drop index public.sessions_started;
