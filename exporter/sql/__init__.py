"""The text of queries: its tokens by the rules of each dialect, parameters in it, and whether it is one SELECT.

Pure.
"""
