"""The rejected rows of a run as the rows of another one: what was sent then is sent again, and nothing else.

A cell that was empty then stays empty, and one that emptied its field (``#N/A``) does so again. Rows whose values had
no faithful text in the first place are left out: only another query can fix them.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from exporter.failures import configuration
from exporter.rows.casts import NULLS

if TYPE_CHECKING:
    import pyarrow as pa

RETRIED = "refused rows only"
"""The reason that marks a run whose rows are the refused ones of the run that it repeats."""
WITHOUT_TEXT = frozenset(
    {"NUL_CHARACTER", "NULL_MARKER", "NOT_A_NUMBER", "VALUE_OUT_OF_RANGE", "NO_SUCH_LOCAL_TIME", "ROW_TOO_LARGE"}
)
"""Codes of rows whose values could not be written as text, see :mod:`exporter.rows.casts`."""
_EMPTIES = "#N/A"
Values = Mapping[str, str | None]


def refused_rows(rows: Iterable[Values], *, batch_rows: int) -> "pa.RecordBatchReader":
    """Return the values of rejected rows, in their order, as a result of text columns, some at a time.

    Raises configuration ``NOTHING_REFUSED`` if there are none.
    """
    import pyarrow as pa  # noqa: PLC0415 - it takes 0.2 s, and few runs come here

    from exporter.rows.rechunk import fetch_batches  # noqa: PLC0415 - the same

    source = iter(rows)
    first = next(source, None)
    if first is None:
        raise configuration("NOTHING_REFUSED", "The run that this one repeats has no rejected rows that could be sent")
    schema = pa.schema([pa.field(name, pa.string(), metadata={NULLS: b"clear"}) for name in first])
    cells = ([_cell(row.get(name)) for name in schema.names] for row in chain([first], source))

    def make(some: Sequence[Sequence[str | None]]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(
            [pa.array(each, pa.string()) for each in zip(*some, strict=True)], schema=schema
        )

    batches = fetch_batches(lambda count: list(islice(cells, count)), make, rows=batch_rows)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _cell(value: str | None) -> str | None:
    if value is None:
        return ""
    return None if value == _EMPTIES else value
