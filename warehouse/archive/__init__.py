"""Archiving of months of events: from `public.events` to `archive.events`, then to a Parquet file, and back.

`months` finds the months that are due, `moves` moves a month between the two parent tables without copying rows, `cold`
converts between a table and a Parquet file, and `runs` runs all due steps. `checksum`, `parquet` and `storage` support
them.
"""
