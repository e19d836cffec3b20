"""From a query's rows to text, chunk by chunk, and to a spool of ready-to-send CSV batches."""

import functools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from exporter.events import Listener, RowsSpooled
from exporter.failures import configuration, internal
from exporter.ledger import Control
from exporter.report import RejectedRow
from exporter.rows.casts import CellFault, TextCast, TextRules, salesforce_rules
from exporter.rows.rechunk import rechunk
from exporter.spool.spool import Spool, SpooledColumn, SpoolManifest, pick

CHUNK_BYTES = 8_000_000
"""About how many bytes of values are held at once; their text and its CSV take about as much again each."""
PATTERNS = 8
"""How many groups the rows that are held at once may fall into, by which of their parents' cells are empty."""
_MAX_PARENTS = 62
"""Parents' columns that are told apart: one bit each of a signed number of 64."""
_HEADER_CHARACTERS = 32_000
_COLUMNS = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLimits:
    """What one batch file may hold: rows, and bytes with its header (so no more characters than that either).

    The defaults are those of Bulk API 1.0: 10,000 records, 10,000,000 characters and 10 MB.
    """

    rows: int = 10_000
    size: int = 10_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class TextChunk:
    """Some consecutive rows of a query as text: how many, those without a fault, and those with one.

    ``numbers`` are the numbers, in the query's result and from 1, of the ``kept`` rows.
    """

    rows: int
    kept: pa.RecordBatch
    numbers: Sequence[int]
    rejected: Sequence[RejectedRow]


def spool_csv(
    rows: pa.RecordBatchReader,
    spool: Spool,
    *,
    control: Control,
    listen: Listener,
    limits: BatchLimits | None = None,
    rules: TextRules | None = None,
) -> SpoolManifest:
    """Write every row as text into CSV batches within ``limits`` and close the manifest; by default for Salesforce.

    Rows are numbered from 1 in the order of ``rows``, which the batches follow. Each file has a header; every value is
    quoted, the empty one too (or a row of one empty cell would be a blank line, which readers skip); lines end in LF,
    the text is UTF-8. Rows without a faithful text go to the spool's rejected rows.

    An empty cell of a parent's column (``Account.Ext_Id__c``) is not written at all: rows that have the same ones go
    into batches without those columns, those with the fewest parents first, for parents have to be there before their
    children. That holds for the rows which are held at once; the batches follow each other in the order of ``rows``
    otherwise. Only where so many rows fall into more than :data:`PATTERNS` groups, the small ones go together, with
    empty cells, which Salesforce leaves alone too (Bulk API guide, "Prepare CSV Files").

    Raises configuration for columns that cannot be text or are too many (5,000 columns, 32,000 characters of header:
    Bulk API limits), and lets pass what ``rows``, the spool and ``control`` raise; the spool is then not complete.
    """
    limits = limits or BatchLimits()
    cast = TextCast(rows.schema, rules or salesforce_rules())
    _check_header(rows.schema.names)
    parents = [name for name in rows.schema.names if "." in name][:_MAX_PARENTS]
    at_once = limits.rows * PATTERNS if parents else limits.rows  # so that each group still makes whole batches
    read = 0
    with spool.begin("csv") as writer:
        for chunk in text_chunks(rows, cast, rows_at_once=at_once, control=control, listen=listen):
            writer.reject(chunk.rejected)
            for group in _by_parents(chunk.kept, parents):
                for start, count, content in _pieces(group.rows, limits):
                    numbers = [chunk.numbers[each] for each in group.places[start : start + count]]
                    gaps = tuple(row.number for row in chunk.rejected if numbers[0] < row.number < numbers[-1])
                    is_whole = numbers[-1] - numbers[0] + 1 == count + len(gaps)
                    writer.add(
                        memoryview(content),
                        rows=count,
                        first_row=numbers[0],
                        gaps=gaps if is_whole else (),
                        picked="" if is_whole else pick(numbers),
                        left_out=group.left_out,
                    )
            read += chunk.rows
        return writer.close(spooled_columns(rows.schema), read)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Rows of a chunk, by their ``places`` in it, that have no cell in the columns ``left_out``, which are gone."""

    rows: pa.RecordBatch
    places: Sequence[int]
    left_out: tuple[str, ...] = ()


def _by_parents(batch: pa.RecordBatch, parents: Sequence[str]) -> Iterator[_Group]:
    """Yield the rows of a chunk in groups by which of their parents' cells are empty, those with the most first."""
    whole = range(batch.num_rows)
    if not parents or not batch.num_rows:
        yield _Group(rows=batch, places=whole)
        return
    code = pc.multiply(pc.binary_length(batch[parents[0]]).cast(pa.int64()), 0)
    for place, name in enumerate(parents):  # a bit for each column whose cell is empty
        code = pc.bit_wise_or(code, pc.shift_left(pc.equal(batch[name], "").cast(pa.int64()), place))
    counted = sorted(pc.value_counts(code).to_pylist(), key=lambda each: (-each["counts"], each["values"]))
    single = counted[: PATTERNS if len(counted) <= PATTERNS else PATTERNS - 1]
    groups = [(each["values"], pc.equal(code, each["values"])) for each in single]
    if rest := [each["values"] for each in counted[len(single) :]]:
        groups.append((functools.reduce(operator.and_, rest), pc.is_in(code, pa.array(rest, pa.int64()))))
    for pattern, mask in sorted(groups, key=lambda each: (-each[0].bit_count(), pc.index(each[1], True).as_py())):
        names = [name for place, name in enumerate(parents) if pattern >> place & 1]
        if len(names) == batch.num_columns:  # a file needs a column
            del names[0]
        yield _Group(
            rows=batch.filter(mask).drop_columns(names),
            places=pc.indices_nonzero(mask).to_pylist(),
            left_out=tuple(names),
        )


def _pieces(batch: pa.RecordBatch, limits: BatchLimits) -> Iterator[tuple[int, int, pa.Buffer]]:
    """Yield (place of the first row, rows, CSV) of pieces that are within the limits."""
    for start in range(0, batch.num_rows, limits.rows):
        yield from _within(batch.slice(start, limits.rows), start, limits.size)


def text_chunks(
    rows: pa.RecordBatchReader, cast: TextCast, *, rows_at_once: int, control: Control, listen: Listener
) -> Iterator[TextChunk]:
    """Yield the rows as text, ``rows_at_once`` or fewer at a time, in their order.

    Calls ``control.check()`` before each chunk and tells :class:`RowsSpooled` when the caller is done with one.
    """
    first_row = 1
    control.check()
    for batch in rechunk(rows, rows=rows_at_once, size=CHUNK_BYTES):
        chunk = _chunk(batch, cast, first_row)
        yield chunk
        listen(RowsSpooled(rows=chunk.rows, rejected=len(chunk.rejected)))
        first_row += chunk.rows
        control.check()


def spooled_columns(schema: pa.Schema) -> list[SpooledColumn]:
    """Return the columns of a schema as a manifest names them."""
    return [SpooledColumn(name=field.name, type=str(field.type)) for field in schema]


def write_csv(batch: pa.RecordBatch, *, header: bool, line_end: str = "\n") -> pa.Buffer:
    """Return a batch of strings without nulls as CSV, with every value quoted."""
    options = pv.WriteOptions(include_header=header, quoting_style="all_valid", eol=line_end)
    sink = pa.BufferOutputStream()
    pv.write_csv(batch, sink, options)
    return sink.getvalue()


def _chunk(batch: pa.RecordBatch, cast: TextCast, first_row: int) -> TextChunk:
    text = cast.apply(batch)
    numbers = range(first_row, first_row + batch.num_rows)
    if not text.faults:
        return TextChunk(rows=batch.num_rows, kept=text.batch, numbers=numbers, rejected=())
    bad = {fault.index for fault in text.faults}
    kept = [index for index in range(batch.num_rows) if index not in bad]
    return TextChunk(
        rows=batch.num_rows,
        kept=text.batch.take(pa.array(kept, pa.int64())),
        numbers=[numbers[index] for index in kept],
        rejected=_rejected(_with_originals(text.batch, batch), text.faults, first_row),
    )


def _with_originals(text: pa.RecordBatch, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the text with times as the source gave them: one that the target cannot take has no text of its own."""
    columns = [
        _original(column) if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type) else written
        for column, written in zip(batch.columns, text.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=text.schema)


def _original(column: pa.Array) -> pa.Array:
    numbers = column.cast(pa.int32() if pa.types.is_date32(column.type) else pa.int64()).to_pylist()
    try:
        return column.cast(pa.string())
    except pa.ArrowException:  # infinite, or beyond what a calendar holds
        return pa.array([None if number is None else f"{column.type}: {number}" for number in numbers], pa.string())


def _rejected(text: pa.RecordBatch, faults: Sequence[CellFault], first_row: int) -> list[RejectedRow]:
    rows = text.take(pa.array([fault.index for fault in faults], pa.int64())).to_pylist()
    return [
        RejectedRow(
            number=first_row + fault.index,
            values={name: cell or None for name, cell in values.items()},
            code=fault.code,
            message=fault.message,
        )
        for fault, values in zip(faults, rows, strict=True)
    ]


def _within(batch: pa.RecordBatch, start: int, size: int) -> Iterator[tuple[int, int, pa.Buffer]]:
    """Yield (place of the first row, rows, CSV) of pieces that are no larger than ``size`` bytes."""
    if not batch.num_rows:
        return
    content = write_csv(batch, header=True)
    if content.size <= size:
        yield start, batch.num_rows, content
        return
    if batch.num_rows == 1:
        raise internal("ROW_TOO_LARGE", f"One row makes a file of {content.size:,} bytes, and {size:,} are allowed")
    middle = batch.num_rows // 2
    del content
    yield from _within(batch.slice(0, middle), start, size)
    yield from _within(batch.slice(middle), start + middle, size)


def _check_header(names: Sequence[str]) -> None:
    if len(names) > _COLUMNS:
        raise configuration("TOO_MANY_COLUMNS", f"The query has {len(names):,} columns; {_COLUMNS:,} can be sent")
    characters = sum(len(name) + len('"",') for name in names)
    if characters > _HEADER_CHARACTERS:
        raise configuration(
            "HEADER_TOO_LONG",
            f"The column names make {characters:,} characters; {_HEADER_CHARACTERS:,} can be sent: shorten them",
        )
