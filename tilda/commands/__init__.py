"""The commands of `tilda`, grouped by topic. Each module lists its commands in `COMMANDS`."""
