"""Rows that are kept for a limited time."""
