"""Monthly partitions of events."""
