"""Definitions, one folder per subject. Each folder has those of these files that it needs.

`assets`, `checks` (asset checks), `schedules`, `steps` (the work of the assets, without Dagster) and `monitoring`
(comparison of stored models with new data).
"""
