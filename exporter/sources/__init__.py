"""Where rows come from: a package for each kind of source. ``source`` has the protocol, ``registry`` opens one."""
