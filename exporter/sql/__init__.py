"""The text of queries: which SQL a connection speaks, and what in a query is code by the rules of that."""
