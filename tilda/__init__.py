"""The front door: the `tilda` command line and the supervisor of the processes that it starts."""
