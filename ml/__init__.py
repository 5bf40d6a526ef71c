"""Conversion propensity in plain scikit-learn and pandas: features in, probabilities out.

Functions take and return pandas frames; nothing here imports Dagster or a database driver. In the order of use:

=====================  ===============================================================================================
``features``           columns of ``marts.visitor_features`` and the targets to predict
``gate``               decides whether there are enough examples, and whether a new model replaces the champion
``training``           trains and calibrates a model, with ``learners``, ``level_shift`` and ``bootstrap``
``evaluation``         measures probabilities against outcomes
``model``              the trained model; ``serving`` computes its probabilities, here and inside MindsDB
``artifacts``          stores and loads models
``scoring``            scores, deciles, bands and reasons of visitors, with ``shapley`` and ``phrases``
``monitoring``         compares today's visitors with the training data, and past scores with outcomes
``report``             describes a model as a page and as Markdown, with ``charts``
``mindsdb``            publishes a model to MindsDB, with ``mindsdb_client``
=====================  ===============================================================================================
"""
