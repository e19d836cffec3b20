"""How the state database is reached: its address, its connections, its clock, and what its dialects differ in."""
