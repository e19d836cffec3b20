"""The Treasure Data cron dialect: expressions, days, instants, and how they read. Its face is ``schedule``. Pure."""
