"""Erasure of the data of a person."""
