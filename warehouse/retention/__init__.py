"""Rows that are deleted when their time is over."""
