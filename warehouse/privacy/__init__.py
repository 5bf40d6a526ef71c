"""What is held about a person: shown (export) and removed (erase), everywhere, by one list of places."""
