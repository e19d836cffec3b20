"""Where rows come from: one file per kind of source, all behind one protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """SQL and the values bound to its named parameters (``$name`` or what the engine uses; never pasted in)."""

    sql: str
    parameters: Mapping[str, object] = field(default_factory=dict)


class Source(Protocol):
    """One open address of rows. Every failure is an ExportError."""

    def read(self, query: Query, *, batch_rows: int) -> "AbstractContextManager[pa.RecordBatchReader]":
        """Run ``query`` and stream its result in batches of at most about ``batch_rows`` rows, in bounded memory.

        Column names are distinct and not empty, or it raises a configuration failure before the first batch.
        Leaving the context releases what the source holds, whether or not all was read.
        """

    def cancel(self) -> None:
        """Stop a query that another thread is reading; it then raises there. Does nothing when none is."""

    def check(self) -> None:
        """Raise if the source cannot be reached with these settings."""
