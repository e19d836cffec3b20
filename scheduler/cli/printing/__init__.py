"""What commands print: tables, times, progress, JSON. All output goes through ``output``."""
