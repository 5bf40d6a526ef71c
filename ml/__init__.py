"""Conversion propensity in plain scikit-learn and pandas: features in, probabilities out."""
