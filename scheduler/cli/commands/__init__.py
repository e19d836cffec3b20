"""The commands, one module for each group that belongs together."""
