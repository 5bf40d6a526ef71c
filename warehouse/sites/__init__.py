"""Websites that send events: their registration, snippet and refused origins."""
