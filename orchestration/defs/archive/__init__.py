"""Old months leave `public.events`, and later Postgres."""
