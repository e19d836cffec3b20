"""A quick look at a SQLite state file by plain SQL: what `list`, `status` and `next` need, without SQLAlchemy's import.

It only ever reads, and gives way: where anything is not as it should be (no file, another schema, a lock, PostgreSQL)
it raises :class:`NoGlance`, and the caller opens the database properly, which then says what is wrong. A contract test
compares every answer here with that of the module that owns it.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from storage.values import HEAD, Node, Outbox, StoredJob, StoredRun, sqlite_time

_TIMES = {
    *("created_at", "updated_at", "anchored_at", "high_water", "disabled_at", "last_success", "scheduled_time"),
    *("run_time", "first_slot", "claim_expires_at", "cancel_requested_at", "started_at", "finished_at", "seen_at"),
}
_DOCUMENTS = {"definition", "progress", "info"}
_SECONDS = 1.0
"""How long it waits for a lock before it gives way."""

_Value = TypeVar("_Value")


class NoGlance(Exception):  # noqa: N818 - a normal answer: look properly instead
    """The state cannot be read this way."""


class Glance:
    """One consistent look at a state file; made by :func:`glance`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def setting(self, key: str) -> str | None:
        """Return a setting, as ``storage.key_values.get`` does."""
        row = self._connection.execute("SELECT value FROM setting WHERE key = ?", [key]).fetchone()
        return None if row is None else str(row[0])

    def settings_beginning_with(self, prefix: str) -> dict[str, str]:
        """Return the settings whose keys begin so."""
        query = "SELECT key, value FROM setting WHERE substr(key, 1, ?) = ?"
        return dict(self._connection.execute(query, [len(prefix), prefix]).fetchall())

    def jobs(self, name: str | None = None) -> list[StoredJob]:
        """Return every job, or those of that name, ordered by name."""
        return self._jobs("", []) if name is None else self._jobs("WHERE job.name = ?", [name])

    def job_names(self, beginning: str = "") -> list[str]:
        """Return, in order, the names of the jobs that begin so."""
        query = "SELECT name FROM job WHERE substr(name, 1, ?) = ? ORDER BY name"
        return [row[0] for row in self._connection.execute(query, [len(beginning), beginning])]

    def last_runs(self) -> dict[str, StoredRun]:
        """Return, for each job that there is, the run that ended last; a skipped slot is no run."""
        last = (
            "SELECT other.id FROM run AS other WHERE other.job = job.name AND other.outcome <> 'skipped' "
            "ORDER BY other.finished_at DESC, other.id DESC LIMIT 1"
        )
        found = self._runs(f"WHERE run.id IN (SELECT ({last}) FROM job)")  # noqa: S608 - no part comes from outside
        return {run.job: run for run in found}

    def newest_runs(self, outcomes: Sequence[str], limit: int) -> list[StoredRun]:
        """Return the newest runs with one of these outcomes, the newest in front."""
        marks = ", ".join("?" * len(outcomes))
        return self._runs(f"WHERE run.outcome IN ({marks}) ORDER BY run.id DESC LIMIT ?", [*outcomes, limit])

    def queue(self, overdue: datetime) -> dict[str, int]:
        """Count the runs that are ``waiting``, ``running``, and ``overdue``, as ``storage.runs.runs.queue`` does."""
        count = "SELECT count(*) FROM run WHERE state ="
        query = f"SELECT ({count} 'waiting'), ({count} 'running'), ({count} 'waiting' AND run_time < ?)"
        row = self._connection.execute(query, [sqlite_time(overdue)]).fetchone()
        return dict(zip(("waiting", "running", "overdue"), row, strict=True))

    def count_jobs(self) -> tuple[int, int]:
        """Return how many jobs there are, and how many of them are disabled."""
        total, disabled = self._connection.execute("SELECT count(*), count(disabled_at) FROM job").fetchone()
        return total, disabled

    def held_back_jobs(self, after: datetime) -> list[StoredJob]:
        """Return, by name, the jobs that the daemon disabled, and those that fired for a slot later than ``after``."""
        return self._jobs("WHERE job.disabled_by = 'daemon' OR job.high_water > ?", [sqlite_time(after)])

    def nodes(self) -> list[Node]:
        """Return every node, the one started first in front."""
        return list(self._values(Node, "node", "node", "ORDER BY node.started_at, node.id"))

    def outbox(self) -> Outbox:
        """Return how the sending of notices does."""
        query = "SELECT count(*), min(created_at) FROM notice WHERE closed_at IS NULL"
        pending, oldest = self._connection.execute(query).fetchone()
        told = "SELECT error FROM notice WHERE closed_at IS NULL AND error IS NOT NULL"
        error = self._connection.execute(f"{told} ORDER BY due_at DESC, id DESC LIMIT 1").fetchone()
        when = None if oldest is None else datetime.fromisoformat(oldest)
        return Outbox(pending=pending, oldest=when, error=None if error is None else error[0])

    def _jobs(self, where: str, values: Sequence[object]) -> list[StoredJob]:
        tables = "job JOIN definition ON definition.id = job.definition_id"
        return sorted(self._values(StoredJob, "job", tables, where, values), key=lambda job: job.name)

    def _runs(self, rest: str, values: Sequence[object] = ()) -> list[StoredRun]:
        tables = "run JOIN definition ON definition.id = run.definition_id"
        return list(self._values(StoredRun, "run", tables, rest, values))

    def _values(
        self, kind: type[_Value], table: str, tables: str, rest: str = "", values: Sequence[object] = ()
    ) -> Iterator[_Value]:
        names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # each is a dataclass
        columns = ", ".join("definition.body" if name == "definition" else f'{table}."{name}"' for name in names)
        for row in self._connection.execute(f"SELECT {columns} FROM {tables} {rest}", values):  # noqa: S608 - no part of it comes from outside
            yield kind(**{name: _read(name, value) for name, value in zip(names, row, strict=True)})


@contextmanager
def glance(path: Path) -> Iterator[Glance]:
    """Look at a state file, all as of one instant. Raises NoGlance, also when a query within the block fails."""
    if not path.is_file():  # SQLite would wait for ever at a pipe
        raise NoGlance
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_SECONDS, isolation_level=None
        )
    except sqlite3.Error as error:
        raise NoGlance from error
    try:
        connection.execute("BEGIN")
        if connection.execute("SELECT version_num FROM schedctl_schema").fetchall() != [(HEAD,)]:
            raise NoGlance
        yield Glance(connection)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise NoGlance from error
    finally:
        connection.close()


def read_settings(path: Path, keys: Sequence[str]) -> dict[str, str]:
    """Return those of these settings that a state file has, whatever its schema: that table keeps its form for ever.

    Raises NoGlance.
    """
    marks = ", ".join("?" * len(keys))
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_SECONDS)) as connection:
            return dict(connection.execute(f"SELECT key, value FROM setting WHERE key IN ({marks})", keys).fetchall())  # noqa: S608 - no part of it comes from outside
    except (sqlite3.Error, ValueError) as error:
        raise NoGlance from error


def count_runs(path: Path) -> tuple[int, datetime | None]:
    """Return how many runs a state file holds, and when the last one ended (UTC), whatever its schema.

    Raises NoGlance.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_SECONDS)) as connection:
            count, last = connection.execute("SELECT count(*), max(finished_at) FROM run").fetchone()
        return count, _read("finished_at", last)
    except (sqlite3.Error, ValueError) as error:
        raise NoGlance from error


def _read(name: str, value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    if value is None:
        return None
    if name in _TIMES:
        return datetime.fromisoformat(value)
    return json.loads(value) if name in _DOCUMENTS else value
