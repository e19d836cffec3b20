"""The command line in a child of a process that has imported it already: the same results in a fraction of the time.

What a command does after its imports is the same as in a process that starts afresh: it has its own process,
environment, directory and files, from the console script's function to Python's end. What comes before is not
tested so, nor what differs by the start of a process: tests of signals, kills, quick commands and output streams run
:data:`~support.commands.command.SCHEDCTL` itself.
"""

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.commands import fork_server

_AT_START = ("PYTHON", "LC_", "LANG", "ARROW_", "MALLOC_", "LD_")
"""What begins so is read when a process or a library starts."""


def can_run(environment: Mapping[str, str]) -> bool:
    """Whether a forked child behaves as a fresh process with this environment does."""
    return sys.platform == "linux" and not any(name.startswith(_AT_START) for name in environment)


def run(
    script: Path,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    stdin: str | None,
    timeout: float,
) -> "subprocess.CompletedProcess[str]":
    """Run a command as ``subprocess.run`` does with captured text. Raises TimeoutExpired, and kills it then."""
    request = {"arguments": list(arguments), "environment": dict(environment), "directory": str(directory)}
    with (
        socket.socket(socket.AF_UNIX) as call,
        ThreadPoolExecutor(3) as pool,
        contextlib.ExitStack() as theirs,
    ):
        ends = [os.pipe() for _ in range(3)]
        files = [ends[0][0], ends[1][1], ends[2][1]]
        for each in files:
            theirs.callback(os.close, each)
        call.connect(_address(script))
        socket.send_fds(call, [json.dumps(request).encode()], files)
        theirs.close()
        pool.submit(_give, ends[0][1], stdin or "")
        out, err = (pool.submit(_take, end) for end, _ in ends[1:])
        with call.makefile(encoding="ascii") as answers:
            pid = int(answers.readline())
            call.settimeout(timeout)
            try:
                code = int(answers.readline())
            except TimeoutError as error:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired([str(script), *arguments], timeout) from error
        return subprocess.CompletedProcess(list(arguments), code, out.result(timeout), err.result(timeout))


def _give(end: int, text: str) -> None:
    with contextlib.suppress(BrokenPipeError), open(end, "w", encoding="utf-8") as file:
        file.write(text)


def _take(end: int) -> str:
    with open(end, encoding="utf-8") as file:
        return file.read()


@functools.cache
def _address(script: Path) -> str:
    """Start the server of this process, which ends when this process does, and return where it listens."""
    address = f"\0schedctl-tests-{os.getpid()}-{uuid.uuid4().hex}"
    command = [sys.executable, fork_server.__file__, address[1:], str(script)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)  # which closes its standard input
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return address
