"""Retention: deletion of expired rows."""
