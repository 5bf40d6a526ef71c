"""The public application: it faces the internet; its database login can only land events."""
