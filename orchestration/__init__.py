"""Dagster definitions: assets, schedules and asset checks."""
