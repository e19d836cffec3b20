"""What people can do, a module for each kind of thing. The command line and the daemon call the same functions."""
