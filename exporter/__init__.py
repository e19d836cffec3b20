"""The data mover: reads a query's result and accounts for every row of it in the target.

It knows no job and no schedule.
"""
