"""Where rows go: a package for each kind of target. ``target`` has the protocol, ``registry`` opens one."""
