"""From a job's result, rows of MessagePack, to Arrow batches, as exact as they came.

A result names its columns' types as the engine writes them: ``bigint``, ``varchar(10)``, ``decimal(10,2)``,
``timestamp(3) with time zone``, ``array(bigint)``; Hive's ``string``, ``array<bigint>``. Arrays, maps, rows and JSON go
out as JSON text; what has no Arrow type of the same values (times of day, intervals, seconds with more than six
decimals, numbers of unknown scale) as the engine's own text, and bytes in base64.
"""

import base64
import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import IO, Any

import msgpack
import pyarrow as pa

from exporter.failures import ExportError, configuration, transient
from exporter.rows.casts import mixed
from exporter.rows.rechunk import fetch_batches
from exporter.sources.shared.result_columns import marked_json, marked_numeral
from exporter.sources.shared.trino_times import read_naive, read_zoned

_INTEGERS = {
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "long": pa.int64(),
}
_FLOATS = {"real": pa.float32(), "float": pa.float32(), "double": pa.float64()}
_DECIMAL = re.compile(r"decimal\((\d+)(?:, ?(\d+))?\)")
_TIMESTAMP = re.compile(r"timestamp(?:\((\d+)\))?( with time zone| with local time zone)?")
_MICROSECONDS = 6
_DECIMAL_DIGITS = 38
_READ_BYTES = 256 * 1024

Converter = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultColumn:
    """A column of a result: its name, its Arrow type, and how a value that is not NULL becomes one of that type."""

    name: str
    type: pa.DataType
    convert: Converter


def result_columns(described: object) -> list[ResultColumn]:
    """Return the columns of a job's ``hive_result_schema``: a list of names and types; none for a job without rows."""
    if not isinstance(described, list):
        return []
    columns = []
    for each in described:
        if not isinstance(each, list) or len(each) < 2:  # noqa: PLR2004 - a name and a type
            raise transient("UNREADABLE_ANSWER", "Treasure Data describes the result in a way that is not known")
        columns.append(_column(str(each[0]), " ".join(str(each[1]).lower().split())))
    return columns


def result_schema(columns: Sequence[ResultColumn]) -> pa.Schema:
    """Return the schema of a result."""
    return pa.schema(
        [mixed(each.name) if each.convert is _text else pa.field(each.name, each.type) for each in columns]
    )


def read_batches(
    file: IO[bytes], columns: Sequence[ResultColumn], *, records: int | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a downloaded result (``msgpack.gz``) in batches of at most ``batch_rows`` and some megabytes.

    ``records`` is how many rows the job says it has; fewer are a transient ``RESULT_INCOMPLETE``, as is a file that
    ends in the middle. Raises configuration ``VALUE_NOT_SUPPORTED`` for a value that is none of its column's type.
    """
    schema = result_schema(columns)
    rows = _rows(file)
    count = 0

    def make(some: Sequence[Any]) -> pa.RecordBatch:
        nonlocal count
        count += len(some)
        return _batch(some, columns, schema)

    yield from fetch_batches(lambda piece: list(islice(rows, piece)), make, rows=batch_rows)
    if records is not None and count < records:
        raise _incomplete(f"it has {count} of {records} rows")


def _rows(file: IO[bytes]) -> Iterator[list[Any]]:
    with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:
        unpacker = msgpack.Unpacker(unzipped, raw=False, strict_map_key=False, read_size=_READ_BYTES)
        try:
            yield from unpacker
            if unpacker.tell() != unzipped.tell():
                raise _incomplete("it ends in the middle of a row")
        except UnicodeDecodeError as error:
            raise configuration(
                "NOT_UTF8", "A text of the result is not UTF-8: make it text in the query, such as with to_hex"
            ) from error
        except (EOFError, gzip.BadGzipFile, zlib.error, msgpack.exceptions.UnpackException, ValueError) as error:
            raise _incomplete("it cannot be read") from error


def _incomplete(why: str) -> ExportError:
    return transient("RESULT_INCOMPLETE", f"The result that Treasure Data sent is not whole: {why}")


def _batch(rows: Sequence[Any], columns: Sequence[ResultColumn], schema: pa.Schema) -> pa.RecordBatch:
    if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
        raise transient("UNREADABLE_ANSWER", "Treasure Data sent a row that does not fit the columns of the result")
    arrays = []
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        try:
            converted = [None if value is None else column.convert(value) for value in values]
            arrays.append(pa.array(converted, column.type))
        except (pa.ArrowException, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise configuration(
                "VALUE_NOT_SUPPORTED",
                f'Column "{column.name}" holds a value that is no {column.type}: cast the column to varchar',
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(name: str, kind: str) -> ResultColumn:
    arrow, convert = _type_of(kind)
    return ResultColumn(name=name, type=arrow, convert=convert)


def _type_of(kind: str) -> tuple[pa.DataType, Converter]:
    if kind in _INTEGERS:
        return _INTEGERS[kind], _integer
    if kind in _FLOATS:
        return _FLOATS[kind], _float
    if kind in _OTHERS:
        return _OTHERS[kind]
    if (match := _DECIMAL.fullmatch(kind)) and 1 <= int(match[1]) <= _DECIMAL_DIGITS:
        return pa.decimal128(int(match[1]), int(match[2] or 0)), _decimal
    if (match := _TIMESTAMP.fullmatch(kind)) and int(match[1] or 0) <= _MICROSECONDS:
        return (pa.timestamp("us", "UTC"), read_zoned) if match[2] else (pa.timestamp("us"), read_naive)
    return pa.string(), _text


def _integer(value: object) -> int:
    if isinstance(value, str):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("no whole number")
    return value


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("no number")
    return float(value)


def _boolean(value: object) -> bool:
    words = {True: True, False: False, "true": True, "false": False}
    if not isinstance(value, bool | str):
        raise TypeError("neither true nor false")
    return words[value]


def _decimal(value: object) -> Decimal:
    return Decimal(repr(value) if isinstance(value, float) else str(value))


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case bytes():
            return base64.b64encode(value).decode()
        case bool():
            return "true" if value else "false"
        case list() | dict():
            return marked_json(value, _text)
        case float():
            return marked_numeral(value)
        case _:
            return str(value)


_OTHERS: dict[str, tuple[pa.DataType, Converter]] = {
    "boolean": (pa.bool_(), _boolean),
    "date": (pa.date32(), date.fromisoformat),
}
