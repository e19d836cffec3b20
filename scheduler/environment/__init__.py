"""What a process has from where it runs: the clock, paths, users, and who acts."""
