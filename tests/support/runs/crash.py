"""Exports that are killed at a chosen instant.

``python -m support.runs.crash`` reads one cell per line from its input, forks, does what the cell says in the child,
which may end in SIGKILL, and answers with the child's exit status. Forking from here, where all is imported and no
thread runs, makes a cell cost some milliseconds.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from support.runs.exports import QuickControl, make_context, make_target

from exporter.ledger import Entry, Mark
from exporter.report import RejectedRow
from exporter.spool.spool import Spool
from exporter.targets.salesforce.delivery import delivery


class StopError(Exception):
    """The run's owner says: no further."""


class FileLedger:
    """A ledger that outlives its process. It may kill the process before or after its ``kill_at``-th entry."""

    def __init__(self, path: Path, *, kill_at: int | None = None, kill: str = "before", stop_after: int = 0) -> None:
        self._path = path
        self._kill_at = kill_at
        self._kill = kill
        self._stop_after = stop_after
        self._written = 0

    def entries(self) -> Sequence[Entry]:
        return [
            Entry(step=line["step"], mark=Mark(line["mark"]), batch=line["batch"], data=line["data"])
            for line in self._lines()
        ]

    def rejected(self) -> list[int]:
        """Return the numbers of the rejected rows, each as often as it was written."""
        return [row["number"] for line in self._lines() for row in line["rejected"]]

    def append(self, entry: Entry, *, rejected: Sequence[RejectedRow] = ()) -> None:
        self._written += 1
        doomed = self._written == self._kill_at
        if doomed and self._kill == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry) | {"rejected": [asdict(row) for row in rejected]}) + "\n")
        if doomed:
            os.kill(os.getpid(), signal.SIGKILL)
        if (entry.step, entry.mark) == ("batch.send", Mark.DONE):
            self._stop_after -= 1
            if not self._stop_after:
                raise StopError

    def _lines(self) -> Iterator[dict[str, Any]]:
        if self._path.exists():
            yield from map(json.loads, self._path.read_text(encoding="utf-8").splitlines())


def perform(cell: dict[str, Any]) -> None:
    """Do one export, or begin one and abort it, as a daemon does that may have been killed before."""
    ledger = FileLedger(
        Path(cell["ledger"]),
        kill_at=cell.get("kill_at"),
        kill=cell.get("kill", "before"),
        stop_after=cell.get("stop_after", 0),
    )
    connection = {"read_timeout": 5, "client_id": "emulator", "client_secret": SecretStr("secret")}
    target = make_target(cell["url"], connection=connection, **cell["options"])
    if (piece := cell.get("smallest_piece")) is not None:
        delivery.SMALLEST_PIECES = (piece, piece)
    spool, context = Spool(Path(cell["spool"])), make_context(ledger, control=_BriskControl())
    if not cell.get("stop_after"):
        target.export(spool, context)
        return
    aborting = any(entry.step == "job.abort" for entry in ledger.entries())
    if not aborting:
        with suppress(StopError):
            target.export(spool, context)
    target.abort(spool, context)


class _BriskControl(QuickControl):
    """A control that waits, but not for long: the emulator needs its time."""

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


class Nursery:
    """The process in which cells are run."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, cell: dict[str, Any]) -> int:
        """Return the exit status of a cell: 0, or minus the signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(cell) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def nursery(module: str = "support.runs.crash") -> Iterator[Nursery]:
    """Start the process, and end it with the block."""
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-m", module]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tests) as process:
        yield Nursery(process)


def fork_cells(lines: Iterable[str], act: Callable[[dict[str, Any]], None]) -> None:
    """Do each cell in a child, and answer with its exit status."""
    for line in lines:
        child = os.fork()
        if not child:
            try:
                act(json.loads(line))
            except BaseException as error:  # noqa: BLE001 - a forked child must not go on as its parent
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    fork_cells(sys.stdin, perform)
