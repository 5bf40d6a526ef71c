"""Resources and pure helpers that the definitions share."""
