"""Processes of another user, and one that holds a config file as a daemon does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65_534
BECOME_NOBODY = "import hashlib, os\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"
"""Done by a program once it has imported what it needs: this Python may lie where only root may read."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@contextmanager
def held_by_another_process(config: Path, state: str, *, as_nobody: bool = False) -> Iterator[int]:
    """Hold a config file in a process, of another user if need be, and give its number."""
    program = (
        "import pwd, sys\nfrom pathlib import Path\nfrom scheduler.state.config_lock import hold_config\n"
        f"{BECOME_NOBODY if as_nobody else ''}"
        "lock = hold_config(Path(sys.argv[1]), sys.argv[2])\nprint(type(lock).__name__, flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(config), state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ConfigLock\n"
        try:
            yield process.pid
        finally:
            process.kill()
