"""Logins of the database: those of the platform's processes, and those of analysts."""
