"""The `tilda` command line, and the supervisor of the stack's processes."""
