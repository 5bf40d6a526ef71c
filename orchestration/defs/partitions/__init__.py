"""The months of events."""
