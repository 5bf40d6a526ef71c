"""Postgres and the data in it: settings, the embedded server, migrations, events, partitions."""
