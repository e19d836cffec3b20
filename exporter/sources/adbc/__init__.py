"""Sources behind an ADBC driver, such as Flight SQL, Snowflake and BigQuery."""
