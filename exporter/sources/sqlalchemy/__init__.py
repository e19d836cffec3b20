"""Any database with an SQLAlchemy dialect."""
