"""The two HTTP applications: the public one stores events, the private one serves the site owner."""
