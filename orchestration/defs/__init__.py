"""Definitions, one folder per subject. Each folder uses the same file names: `assets`, `checks`, `schedules`."""
