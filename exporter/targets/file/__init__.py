"""The file target: one CSV, JSON or Parquet file for each run."""
