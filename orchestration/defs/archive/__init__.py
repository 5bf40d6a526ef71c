"""Archiving: move old months out of `public.events`, and later out of Postgres."""
