"""Months of events over the years: live, then in `archive.events`, then a Parquet file outside Postgres, and back.

`months` says which month is due, `moves` carries one between the two parents without copying it, `cold` makes a file of
one and back, `runs` does all that is due. `checksum`, `parquet` and `storage` are what they stand on.
"""
