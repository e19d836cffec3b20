"""Jobs: their definition, which jobs run after which, and jobs from a crontab or Treasure Data.

Their face is ``definition``.
"""
