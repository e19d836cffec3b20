"""Faults on request: what a network and a busy org do to a client, at moments that a test chooses.

Two kinds. A :class:`CallFault` befalls HTTP requests; a :class:`RowFault` befalls batches while they are processed.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from exporter.emulator.org.field_values import Errors, row_error
from exporter.emulator.org.record_table import BatchError, Table

Action = Literal["answer", "drop_before", "drop_after", "hang", "slow", "truncate", "expire"]
LOCKED = ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFault:
    """What happens to requests whose ``METHOD /path`` the pattern is found in.

    ``nth`` counts those requests from 1 and says which of them; empty: all. The ``action`` is to ``answer`` with
    ``status``, ``body``, ``kind`` and ``headers`` and do nothing; to hang up before anything is done (``drop_before``)
    or after all is done (``drop_after``: a lost response); to say nothing for ``seconds`` and then hang up (``hang``);
    to wait for ``seconds`` and then do as always (``slow``); to do all and hang up in the middle of the answer
    (``truncate``); to end all sessions just before the call (``expire``).
    """

    pattern: str
    action: Action
    nth: tuple[int, ...] = ()
    status: int = 503
    body: str = ""
    kind: str = "text/html;charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFault:
    """Which rows of an object's batches are refused, as if others held their records; ``error`` is code and message.

    Rows are named by the ``values`` of a ``column``, each refused ``times`` times, or as each ``every``-th row of the
    next ``times`` batches. With a ``batch_message`` the next ``times`` batches fail as a whole, and say that; the first
    ``processed`` rows of them are processed all the same, and the others say ``error``. Only batches of more than
    ``larger`` rows are befallen. With ``queries`` it is the next ``times`` bulk queries of the object that fail.
    """

    object: str
    column: str = ""
    values: tuple[str, ...] = ()
    every: int = 0
    times: int = 1
    error: tuple[str, str] = LOCKED
    batch_message: str = ""
    processed: int = 0
    larger: int = 0
    queries: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Befallen:
    """What befalls a batch: ``errors`` of its rows, and, if it fails after ``processed`` of them, what it says."""

    errors: Errors = field(default_factory=Errors)
    message: str = ""
    processed: int = 0


class FaultBox:
    """The faults in force. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[tuple[CallFault, re.Pattern[str]]] = []
        self._seen: list[int] = []
        self._rows: list[RowFault] = []
        self._left: list[dict[str, int]] = []

    def add(self, fault: CallFault | RowFault) -> None:
        """Put a fault into force, after those that are. Raises ValueError for a bad pattern."""
        with self._lock:
            if isinstance(fault, CallFault):
                self._calls.append((fault, re.compile(fault.pattern)))
                self._seen.append(0)
            else:
                self._rows.append(fault)
                self._left.append(dict.fromkeys(fault.values or ("",), fault.times))

    def clear(self) -> None:
        """Lift all faults."""
        with self._lock:
            for each in (self._calls, self._seen, self._rows, self._left):
                each.clear()

    def take_call(self, method: str, path: str) -> CallFault | None:
        """Count a request for all faults that fit it, and return the first that befalls it."""
        found = None
        with self._lock:
            for number, (fault, pattern) in enumerate(self._calls):
                if pattern.search(f"{method} {path}"):
                    self._seen[number] += 1
                    if found is None and (not fault.nth or self._seen[number] in fault.nth):
                        found = fault
        return found

    def take_rows(self, name: str, table: Table) -> Befallen:
        """Return what befalls a batch now. Raises BatchError if nothing of it is processed."""
        errors = Errors()
        failed: RowFault | None = None
        with self._lock:
            for fault, left in zip(self._rows, self._left, strict=True):
                if fault.object.lower() == name.lower() and table.rows > fault.larger and not fault.queries:
                    failed = self._befall(fault, left, table, errors) or failed
        if failed is None:
            return Befallen(errors=errors)
        for row in range(failed.processed, table.rows):
            errors[row] = row_error(*failed.error)
        return Befallen(errors=errors, message=failed.batch_message, processed=failed.processed)

    def take_query(self, name: str) -> None:
        """Raise BatchError if a bulk query of an object fails now."""
        with self._lock:
            for fault, left in zip(self._rows, self._left, strict=True):
                if fault.object.lower() == name.lower() and fault.queries and left[""] > 0:
                    left[""] -= 1
                    raise BatchError(fault.batch_message)

    def _befall(self, fault: RowFault, left: dict[str, int], table: Table, errors: Errors) -> RowFault | None:
        """Add the rows that a fault refuses; return it if the batch fails once some of its rows are processed."""
        if fault.values:
            for name, cells in zip(table.header, table.columns, strict=True):
                for row, cell in enumerate(cells) if name.lower() == fault.column.lower() else ():
                    if left.get(cell, 0) > 0:
                        left[cell] -= 1
                        errors.add(row, *fault.error)
            return None
        if left[""] == 0:
            return None
        left[""] -= 1
        if fault.batch_message and not fault.processed:
            raise BatchError(fault.batch_message)
        for row in range(fault.every - 1, table.rows, fault.every) if fault.every else ():
            errors.add(row, *fault.error)
        return fault if fault.batch_message else None

    def listed(self) -> list[dict[str, Any]]:
        """Return the faults in force, with how many requests fitted them, or how often they will still befall rows."""
        with self._lock:
            calls = [
                {"pattern": fault.pattern, "action": fault.action, "nth": list(fault.nth), "seen": seen}
                for (fault, _), seen in zip(self._calls, self._seen, strict=True)
            ]
            rows = [
                {"object": fault.object, "column": fault.column, "left": dict(left)}
                for fault, left in zip(self._rows, self._left, strict=True)
            ]
        return [*calls, *rows]


def read_fault(given: Mapping[str, Any]) -> CallFault | RowFault:
    """Read a fault from JSON, whose keys are those of the two classes. Raises ValueError that says what is wrong."""
    kind: type[CallFault | RowFault] = RowFault if "object" in given else CallFault
    known = kind.__dataclass_fields__
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"unknown key {unknown[0]}; known: {', '.join(known)}")
    values = {
        key: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for key, value in given.items()
    }
    actions = get_args(Action)
    if kind is CallFault and (values.get("action") not in actions or not isinstance(values.get("pattern"), str)):
        raise ValueError(f"a fault needs a pattern, and an action of: {', '.join(actions)}")
    if kind is RowFault and bool(values.get("column")) != bool(values.get("values")):
        raise ValueError("column and values belong together")
    if kind is RowFault and (values.get("processed") or values.get("queries")) and not values.get("batch_message"):
        raise ValueError("processed and queries need a batch_message")
    return kind(**cast("Any", values))
