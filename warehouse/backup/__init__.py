"""Backups of the database, and their restore."""
