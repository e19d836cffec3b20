"""Runs and attempts as values: what goes in, what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from storage.definitions import DEFINITION
from storage.models import table
from storage.values import StoredRun

__all__ = [
    "ATTEMPT",
    "RUN",
    "FailureTriple",
    "Kind",
    "NewRun",
    "RowCounts",
    "StoredAttempt",
    "StoredRun",
    "read_runs",
    "read_runs_by_id",
    "select_runs",
]

RUN = table("run")
ATTEMPT = table("attempt")

Kind = Literal["schedule", "manual", "backfill", "retry"]
FailureTriple = tuple[str, str, str]
"""Kind, code and message of a failure."""
RowCounts = tuple[int, int, int, int]
"""Rows read, accepted, rejected and unchanged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """A slot to be stored: owed (``waiting``), or skipped (``finished``, outcome ``skipped``, with a ``reason``).

    A skipped row stands for ``skipped`` slots, from ``first_slot`` to ``scheduled_time``. ``definition`` is the
    snapshot that the run will execute. Job, scheduled_time, kind and ``repeat`` are unique: a second retry of one slot
    has ``repeat`` 1, and so on; ``retry_of`` is the run that it repeats.
    """

    job: str
    scheduled_time: datetime
    run_time: datetime
    kind: Kind
    definition: dict[str, Any]
    state: Literal["waiting", "finished"] = "waiting"
    outcome: str | None = None
    reason: str | None = None
    skipped: int = 0
    first_slot: datetime | None = None
    repeat: int = 0
    retry_of: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAttempt:
    """One try of a run.

    ``ending`` is None while it goes on, else the run's outcome, ``failed`` (and to be tried again), ``released`` (given
    back unfinished; it does not count) or ``interrupted`` (its process was lost).
    """

    number: int
    owner: str
    started_at: datetime
    ended_at: datetime | None
    ending: str | None
    failure_kind: str | None
    failure_code: str | None
    failure_message: str | None


_COLUMNS = [
    DEFINITION.c.body.label("definition") if field.name == "definition" else RUN.c[field.name]
    for field in fields(StoredRun)
]
_WHOLE_RUNS = select(*_COLUMNS).join(DEFINITION, DEFINITION.c.id == RUN.c.definition_id)


def select_runs(*where: ColumnElement[bool]) -> Select[Any]:
    """Begin a query for whole runs; :func:`read_runs` makes values of what it finds."""
    return _WHOLE_RUNS.where(*where)


def read_runs(session: Session, query: Select[Any]) -> list[StoredRun]:
    """Return what a query begun by :func:`select_runs` finds, in its order."""
    return [StoredRun(**row) for row in session.execute(query).mappings()]


def read_runs_by_id(session: Session, numbers: Sequence[int]) -> list[StoredRun]:
    """Return these runs, those due first in front."""
    runs = read_runs(session, select_runs(RUN.c.id.in_(numbers)))
    return sorted(runs, key=lambda run: (run.run_time, run.id))
