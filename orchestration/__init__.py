"""Dagster definitions: what is made of what, when, and whether it is right."""
