"""Conversion propensity in plain scikit-learn and pandas: features in, probabilities out.

Nothing here knows Dagster, SQL or a database; every function takes and gives frames. In the order of use:
``gate.check`` counts the examples, ``training.fit`` learns, ``gate.confirm`` and ``gate.decide`` judge,
``artifacts.dumps`` stores, ``scoring.score`` scores, ``monitoring`` and ``report`` watch and explain,
``mindsdb.publish`` serves.
"""
