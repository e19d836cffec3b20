"""Where the state of a config file is, who holds it, and which files it has seen."""
