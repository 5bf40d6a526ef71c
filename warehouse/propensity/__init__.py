"""Tables around the propensity model: features, model versions, scores, and the MindsDB server."""
