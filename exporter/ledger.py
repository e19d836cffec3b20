"""The record of every effect on the outside, written before and after it, from which a restart knows where it stands.

The exporter defines what it needs; whoever runs an export brings a ledger that lives in the state database.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from exporter.report import RejectedRow


class Mark(StrEnum):
    """On which side of its effect an entry was written."""

    INTENDED = "intended"
    DONE = "done"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the ledger: which effect, on which batch (if any), before or after it, and what must be known later.

    ``data`` holds JSON values only, no secret and no row data.
    """

    step: str
    mark: Mark
    batch: int | None = None
    data: Mapping[str, object] = field(default_factory=dict)


class Ledger(Protocol):
    """An append-only list of entries of one run, over all of its attempts."""

    def entries(self) -> Sequence[Entry]:
        """Return every entry so far, oldest first."""

    def append(self, entry: Entry, *, rejected: Sequence[RejectedRow] = ()) -> None:
        """Make ``entry`` and the rejected rows that belong to it durable, both or neither, before returning.

        Raises if this process may not go on with the run (another process has its claim). That exception is not the
        exporter's: it lets it pass and touches nothing more. So an entry ``intended`` before each effect is also
        the check that the effect is still ours to make.
        """


class MemoryLedger:
    """A ledger that lives as long as its process: for entries that were read, and for an export that may begin anew."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Begin with ``entries``, oldest first. ``rejected`` has the rejected rows by their number."""
        self._entries = list(entries)
        self.rejected: dict[int, RejectedRow] = {}

    def entries(self) -> Sequence[Entry]:
        """Return every entry so far, oldest first."""
        return tuple(self._entries)

    def append(self, entry: Entry, *, rejected: Sequence[RejectedRow] = ()) -> None:
        """Keep ``entry`` and the rejected rows that belong to it."""
        self._entries.append(entry)
        self.rejected |= {row.number: row for row in rejected}


class Control(Protocol):
    """How the run's owner stops an export: two calls raise its own exception, which the exporter lets pass."""

    def check(self) -> None:
        """Raise if the run has to stop now: canceled, timed out, draining, or no longer ours."""

    def wait(self, seconds: float) -> None:
        """Wait, but raise as :meth:`check` does as soon as the run has to stop."""

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, from any thread, when the run has to stop; at once if that was before.

        It ends what blocks, such as a call over the network, and neither blocks nor raises itself.
        """
