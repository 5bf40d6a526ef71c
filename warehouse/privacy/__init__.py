"""Search, export and erasure of a person's data. All three use one list of places."""
