"""The process of :mod:`support.commands.forked`: with everything imported, it forks a child for each command sent.

A request is JSON with the command's ``arguments``, ``environment`` and ``directory``, and three file descriptors. The
answers are the child's process id and, once it has ended, its exit code as ``subprocess`` counts it. The server ends
when its standard input does.
"""

import atexit
import contextlib
import gc
import importlib
import importlib.metadata
import json
import os
import pkgutil
import selectors
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NoReturn

LARGEST = 1 << 20
_HEAVY = ("alembic.command", "duckdb", "pyarrow.compute", "pyarrow.csv", "pyarrow.parquet", "sqlglot.dialects")
"""What the commands import inside functions."""


def modules() -> Iterator[ModuleType]:
    """Import all of the project and what it imports late."""
    for name in ("exporter", "scheduler", "storage"):
        package = importlib.import_module(name)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if "migrations" not in found.name and not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)
    for name in _HEAVY:
        yield importlib.import_module(name)


def serve(server: socket.socket) -> list[str]:
    """Take requests until standard input ends; returns only in a child, with the command to run."""
    running: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as ready:
        ready.register(sys.stdin, selectors.EVENT_READ)
        ready.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is sys.stdin:
                    os._exit(0)
                if key.fileobj is server:
                    connection, _ = server.accept()
                    text, given, _, _ = socket.recv_fds(connection, LARGEST, 3)
                    request = json.loads(text)
                    pid = os.fork()
                    if pid == 0:
                        become(request, given)
                        return list(request["arguments"])
                    for each in given:
                        os.close(each)
                    answer(connection, pid)
                    watch = os.pidfd_open(pid)
                    running[watch] = (pid, connection)
                    ready.register(watch, selectors.EVENT_READ)
                elif isinstance(key.fileobj, int):
                    pid, connection = running.pop(key.fileobj)
                    ready.unregister(key.fileobj)
                    os.close(key.fileobj)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    with connection:
                        answer(connection, code)


def answer(connection: socket.socket, number: int) -> None:
    """Tell the client, unless it has stopped waiting."""
    with contextlib.suppress(OSError):
        connection.sendall(f"{number}\n".encode())


def become(request: dict[str, object], given: list[int]) -> None:
    """Make this child what a fresh process would be: its three files, its environment, its directory."""
    for number, each in enumerate(given):
        os.dup2(each, number)
    os.closerange(3, max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 1)
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[arg-type] # as the client sends it
    os.chdir(str(request["directory"]))
    time.tzset()
    encoding = "utf-8"
    sys.stdin = open(0, encoding=encoding, errors="surrogateescape")  # noqa: SIM115 - as Python opens them
    sys.stdout = open(1, "w", encoding=encoding, errors="surrogateescape")  # noqa: SIM115 - the same
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", buffering=1)  # noqa: SIM115 - the same


def main() -> None:
    """Serve at the path that is the only argument; a child goes on as the console script would."""
    address, script = sys.argv[1:]
    sys.path[0] = os.path.dirname(script)  # noqa: PTH120 - text, as Python keeps it
    for _ in modules():
        pass
    assert threading.active_count() == 1, "a module starts a thread when it is imported: then nothing may fork"
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="schedctl")
    command = entry.load()
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{address}")  # an abstract address: it leaves no file
        server.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        arguments = serve(server)
        server.detach()
    sys.argv = [script, *arguments]
    end(command)


def end(command: Callable[[], object]) -> NoReturn:
    """Run the command, then end as Python does but for one thing: what is in memory is left to the system.

    Freeing all that was imported takes longer than most commands, and DuckDB's library reports each piece that the
    parent still holds.
    """
    code: object = 0
    try:
        command()
    except SystemExit as wanted:
        code = wanted.code
    except BaseException:  # noqa: BLE001 - as at the end of any Python process
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined] # what Py_FinalizeEx calls
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads
            stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    main()
