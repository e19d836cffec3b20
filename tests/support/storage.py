"""Values for the tests of the storage, and processes that use it."""

import os
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import select, update

from storage.database import Database
from storage.definitions import DEFINITION, digest
from storage.models import table
from storage.runs.runs import NewRun, StoredRun, claim_run, insert_runs

JOB = table("job")
NOON = datetime(2026, 3, 8, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """Give the instant so many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def new_run(job: str = "nightly", minutes: float = 0, **changes: Any) -> NewRun:
    """Give a slot of a job at so many minutes after noon, due at once."""
    values: dict[str, Any] = {
        "job": job,
        "scheduled_time": at(minutes),
        "run_time": at(minutes),
        "kind": "schedule",
        "definition": {"query": "select 1"},
    }
    return NewRun(**{**values, **changes})


def stored(database: Database, *runs: NewRun) -> list[int]:
    """Store runs, all new, and return their numbers."""
    with database.write() as session:
        numbers = insert_runs(session, runs, now=NOON)
    assert None not in numbers
    return [number for number in numbers if number is not None]


def claimed(database: Database, run: NewRun | None = None, *, owner: str = "node-a") -> StoredRun:
    """Store a run and claim it for a minute."""
    (number,) = stored(database, run or new_run())
    with database.write() as session:
        claim = claim_run(session, number, owner=owner, now=NOON, lease_seconds=60)
    assert claim is not None
    return claim


def damage(database: Database, job: str, **keys: Any) -> None:
    """Change keys of a job's stored definition as no command would: another version wrote them, or zone data went."""
    with database.write() as session:
        number = session.execute(select(JOB.c.definition_id).where(JOB.c.name == job)).scalar_one()
        body = session.execute(select(DEFINITION.c.body).where(DEFINITION.c.id == number)).scalar_one()
        new = {**body, **keys}
        session.execute(update(DEFINITION).where(DEFINITION.c.id == number).values(body=new, digest=digest(new)))


def token_of(run: StoredRun) -> str:
    """Give the token of a run that is claimed."""
    assert run.token is not None
    return run.token


class Process:
    """A Python process with a program of ours and arguments; leaving the block kills it.

    It says ``ready`` where the program has the line ``#go``, and goes on from there when told to.
    """

    _GATE = "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\n"

    def __init__(self, program: str, *arguments: str) -> None:
        path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-c", program.replace("#go\n", self._GATE), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def line(self) -> str:
        """Wait for the next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate(timeout=30)[1]
        return line.strip()

    def wait(self) -> None:
        """Wait until it has come to its gate."""
        assert self.line() == "ready"

    def go(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """Kill it as the kernel would, unless it has ended, and wait until it is gone."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate(timeout=30)

    def result(self) -> str:
        """Wait for its end, which must be a good one, and return the rest of what it printed."""
        out, err = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, err
        return out.strip()


def all_at_once(program: str, arguments: list[list[str]], *, gates: int = 1) -> list[str]:
    """Run one process for each list of arguments, let all go on together, and return what each printed.

    No process passes a gate (a line ``#go`` of the program) before all have come to it.
    """
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(program, *each)) for each in arguments]
        for _ in range(gates):
            for process in processes:
                process.wait()
            for process in processes:
                process.go()
        return [process.result() for process in processes]
