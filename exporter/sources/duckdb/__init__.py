"""DuckDB: its own databases, and files that it reads."""
