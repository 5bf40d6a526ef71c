"""What definitions share: resources and pure helpers."""
