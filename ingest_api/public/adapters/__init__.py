"""Parsers for the clients of other platforms."""
