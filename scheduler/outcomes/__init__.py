"""How an attempt ended, and what follows from it: a retry, a disable, a pause of a connection. Pure."""
