"""Monthly partitions of the events."""
