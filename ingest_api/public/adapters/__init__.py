"""Endpoints for clients of other platforms."""
