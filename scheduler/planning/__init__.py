"""Which slots are due, which were missed, and which are to come. Pure, but for the state that is passed in."""
