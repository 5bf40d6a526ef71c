"""Serving the champion in MindsDB."""
