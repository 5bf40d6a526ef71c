"""Persons who are to be forgotten."""
