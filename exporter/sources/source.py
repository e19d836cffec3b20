"""What every source does, whatever its kind: the protocol, the query that it is given, and when it is read again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from exporter.failures import ExportError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """SQL and the values bound to its named parameters (``$name`` or what the engine uses; never pasted in).

    ``identity`` names the run that asks, the same after a crash and for no other run anywhere: a source whose queries
    outlive this process takes up by it what an earlier process began. ``scheduled_time`` is the slot, for an engine
    that has functions of its own for it. Other sources use neither.
    """

    sql: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    identity: str | None = None
    scheduled_time: "datetime | None" = None


class ReadAgainError(ExportError):
    """A failure in the middle of the rows that another read, from the beginning and at once, does not have."""


class Source(Protocol):
    """One open address of rows. Every failure is an ExportError."""

    def read(self, query: Query, *, batch_rows: int) -> "AbstractContextManager[pa.RecordBatchReader]":
        """Run ``query`` and stream its result in batches of at most about ``batch_rows`` rows, in bounded memory.

        Column names are distinct and not empty, or it raises a configuration failure before the first batch.
        They hold about :data:`~exporter.rows.rechunk.BATCH_BYTES` at most, but for a single row that is larger.
        Leaving the context releases what the source holds, whether or not all was read. Reading may raise
        :class:`ReadAgainError`: then the caller forgets the rows that it got, and reads again.
        """

    def cancel(self) -> None:
        """Stop a query that another thread is reading; it then raises there. Does nothing when none is."""

    def check(self) -> None:
        """Raise if the source cannot be reached with these settings."""


@runtime_checkable
class LeavableSource(Protocol):
    """A source whose queries go on without us: it can stop reading and leave the query to whoever comes next."""

    def leave(self) -> None:
        """Stop as ``cancel`` does, but leave the query alone: the next read with the same identity takes it up."""
