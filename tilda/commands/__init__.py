"""The commands of `tilda`, by what they are about. Each module lists them in `COMMANDS`."""
