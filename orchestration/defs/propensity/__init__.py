"""Training, scoring, and their checks."""
