"""Postgres and what is kept in it: settings, the embedded server, migrations, events, partitions."""
