"""The two HTTP applications: the public one lands events, the private one answers the owner."""
