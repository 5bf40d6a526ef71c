"""Rejected events: listing and replaying them."""
