"""TOML and XML of others, read within bounds."""
