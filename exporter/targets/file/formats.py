"""A query's rows written into a spool as one file, in the format that its ending names.

* CSV is RFC 4180 in UTF-8: a header, every value quoted, lines ended by CR LF, a NULL as an empty value; types as
  :mod:`exporter.rows.casts` writes them.
* JSON Lines has one object per row. Numbers stay numbers, decimals with all their digits; NULL is null; dates, times,
  UUIDs and binary are the text that :mod:`exporter.rows.casts` writes; lists, structs and maps nest (a map as its
  pairs).
* Parquet keeps the types of the query.

Rows that CSV or JSON Lines have no faithful text for (NaN, infinite dates) become the spool's rejected rows.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from exporter.events import Listener, RowsSpooled
from exporter.failures import configuration
from exporter.ledger import Control
from exporter.report import RejectedRow
from exporter.rows.casts import CellFault, TextCast, TextRules
from exporter.rows.rechunk import rechunk
from exporter.spool.csv_batches import CHUNK_BYTES, spooled_columns, text_chunks, write_csv
from exporter.spool.spool import Spool, SpoolFile

_ROWS_AT_ONCE = 10_000
_GROUP_ROWS = 65_536
"""Rows of a Parquet row group, at most: what a reader has to hold at once."""
_LINE_ENDS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}
"""JSON may hold these as they are, but some readers take them for the end of a line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """The next part of the file, and which of the ``rows`` it was made of are not in it."""

    content: bytes | memoryview
    rows: int = 0
    rejected: Sequence[RejectedRow] = ()


def check_columns(format_name: str, schema: pa.Schema) -> None:
    """Raise configuration if a column has no form in the format: ``csv``, ``jsonl`` or ``parquet``."""
    if format_name == "csv":
        TextCast(schema, TextRules())
    elif format_name == "jsonl":
        _JsonCast(schema)
    else:
        for field in schema:
            if pa.types.is_interval(field.type) or pa.types.is_union(field.type):
                raise configuration(
                    "TYPE_NOT_SUPPORTED",
                    f'Column "{field.name}" is a {field.type}, which Parquet has not: cast it to VARCHAR',
                )


def fill_file(
    format_name: str, rows: pa.RecordBatchReader, spool: Spool, *, control: Control, listen: Listener
) -> None:
    """Write ``rows`` into ``spool`` as its one batch, in the format ``csv``, ``jsonl`` or ``parquet``, and close it.

    Raises configuration for columns that have no form in it, and lets pass what ``rows``, the spool and ``control``
    raise.
    """
    check_columns(format_name, rows.schema)
    if format_name == "parquet":
        _fill_parquet(rows, spool, control, listen)
        return
    pieces = _csv_pieces if format_name == "csv" else _json_pieces
    read, missing = 0, []
    with spool.begin(format_name) as writer, closing(writer.create()) as file:
        for piece in pieces(rows, control, listen):
            file.write(piece.content)
            writer.reject(piece.rejected)
            missing += [row.number for row in piece.rejected]
            read += piece.rows
        first = next((number for number, gap in enumerate([*missing, 0], start=1) if number != gap), 1)
        gaps = tuple(number for number in missing if number > first)
        writer.settle(file, rows=read - len(missing), first_row=first, gaps=gaps)
        writer.close(spooled_columns(rows.schema), read)


def _csv_pieces(rows: pa.RecordBatchReader, control: Control, listen: Listener) -> Iterator[_Piece]:
    cast = TextCast(rows.schema, TextRules())
    nothing = pa.RecordBatch.from_pylist([], schema=cast.schema)
    yield _Piece(content=memoryview(write_csv(nothing, header=True, line_end="\r\n")))
    for chunk in text_chunks(rows, cast, rows_at_once=_ROWS_AT_ONCE, control=control, listen=listen):
        content = memoryview(write_csv(chunk.kept, header=False, line_end="\r\n"))
        yield _Piece(content=content, rows=chunk.rows, rejected=chunk.rejected)


def _json_pieces(rows: pa.RecordBatchReader, control: Control, listen: Listener) -> Iterator[_Piece]:
    cast = _JsonCast(rows.schema)
    first_row = 1
    control.check()
    for batch in rechunk(rows, rows=_ROWS_AT_ONCE, size=CHUNK_BYTES):
        piece = cast.apply(batch, first_row)
        yield piece
        listen(RowsSpooled(rows=piece.rows, rejected=len(piece.rejected)))
        first_row += piece.rows
        control.check()


def _fill_parquet(rows: pa.RecordBatchReader, spool: Spool, control: Control, listen: Listener) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only this format needs it

    read = 0
    control.check()
    with spool.begin("parquet") as writer, closing(writer.create()) as file:
        with pq.ParquetWriter(_Sink(file), rows.schema) as parquet:
            for batch in rechunk(rows, rows=_GROUP_ROWS, size=2 * CHUNK_BYTES):
                parquet.write_batch(batch, row_group_size=_GROUP_ROWS)
                read += batch.num_rows
                listen(RowsSpooled(rows=batch.num_rows))
                control.check()
        writer.settle(file, rows=read, first_row=1)
        writer.close(spooled_columns(rows.schema), read)


class _Sink:
    """A spool's file as Arrow writes to it; closing it leaves the file open, which is still to be made durable."""

    def __init__(self, file: SpoolFile) -> None:
        self._file = file
        self._place = 0
        self.closed = False

    def write(self, content: bytes | memoryview) -> int:
        """Write all of ``content`` and return its length."""
        self._file.write(content)
        self._place += memoryview(content).nbytes
        return memoryview(content).nbytes

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._place

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Take no more."""
        self.closed = True


class _JsonCast:
    """From batches of one schema to lines of JSON."""

    def __init__(self, schema: pa.Schema) -> None:
        self._plain = [field.name for field in schema if not pa.types.is_nested(field.type)]
        self._schema = schema
        self._cast = TextCast(pa.schema([schema.field(name) for name in self._plain]), TextRules())

    def apply(self, batch: pa.RecordBatch, first_row: int) -> _Piece:
        """Write each row as an object on a line of its own."""
        text = self._cast.apply(batch.select(self._plain))
        faults = {fault.index: fault for fault in text.faults}
        columns = {}
        for field in self._schema:
            column = batch.column(field.name)
            if field.name in self._plain:
                columns[field.name] = _json_cells(column, text.batch.column(field.name))
            else:
                columns[field.name] = _nested_cells(field.name, column, faults)
        keys = [json.dumps(name, ensure_ascii=False) + ":" for name in columns]
        lines = [
            "{" + ",".join(map(str.__add__, keys, cells)) + "}\n"
            for index, cells in enumerate(zip(*columns.values(), strict=True))
            if index not in faults
        ]
        rejected = [
            RejectedRow(
                number=first_row + index,
                values={name: _as_text(cells[index]) for name, cells in columns.items()},
                code=faults[index].code,
                message=faults[index].message,
            )
            for index in sorted(faults)
        ]
        content = "".join(lines).translate(_LINE_ENDS).encode()
        return _Piece(content=content, rows=batch.num_rows, rejected=rejected)


def _as_text(cell: str) -> str | None:
    """Return the text of a JSON cell as a rejected row shows it: without the quotes of a string."""
    return {"null": None}.get(cell, json.loads(cell) if cell.startswith('"') else cell)


def _json_cells(column: pa.Array, text: pa.Array) -> list[str]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    cells: list[str] = text.to_pylist()
    if not (number or pa.types.is_boolean(kind)):
        cells = [json.dumps(cell, ensure_ascii=False) for cell in cells]
    if column.null_count:
        there = pc.is_valid(column).to_pylist()
        cells = [cell if valid else "null" for cell, valid in zip(cells, there, strict=True)]
    return cells


def _nested_cells(name: str, column: pa.Array, faults: dict[int, CellFault]) -> list[str]:
    cells = []
    for index, value in enumerate(column.to_pylist()):
        try:
            cells.append(_json(value))
        except ValueError:
            cells.append(str(value))
            message = f'column "{name}" holds NaN or an infinite number, which JSON has not'
            faults.setdefault(index, CellFault(index=index, code="NOT_A_NUMBER", message=message))
    return cells


def _json(value: object) -> str:
    """Write one value as JSON; raises ValueError for a number that is none."""
    match value:
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return "{" + ",".join(f"{_json(str(key))}:{_json(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_json, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_leaf)


def _leaf(value: object) -> str:
    """Write a value that JSON has no form for as :mod:`exporter.rows.casts` does."""
    match value:
        case datetime():
            moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
        case time():
            return value.isoformat(timespec="milliseconds") + "Z"
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return str(value)
