"""MySQL and MariaDB, as a stream of rows."""
