"""Propensity: training, scoring and asset checks."""
