"""Publishing the champion models to MindsDB."""
