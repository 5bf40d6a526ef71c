"""Definitions, one folder a subject; inside always the same names: assets, checks, schedules."""
