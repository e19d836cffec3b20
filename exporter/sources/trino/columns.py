"""From the columns of a Trino result to Arrow's, as exact as Trino sends them.

Trino names its types (``decimal(10,2)``, ``timestamp(3) with time zone``, ``array(bigint)``) and sends most values
as text, which Arrow reads a column at a time. Arrays, maps and rows go out as JSON text; what has no Arrow type of the
same values (times with a zone, timestamps of picoseconds, intervals, addresses) as Trino's own text.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exporter.failures import configuration, transient
from exporter.sources.shared.trino_times import read_zoned
from exporter.sources.trino.nested_types import nested_text

_PLAIN = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
}
_FLOATS = {"real": pa.float32(), "double": pa.float64()}
_DECIMAL = re.compile(r"decimal\((\d+), ?(\d+)\)")
_TIMESTAMP = re.compile(r"timestamp(?:\((\d+)\))?( with time zone)?")
_TIME = re.compile(r"time(?:\((\d+)\))?")
_DEFAULT_DECIMALS = 3
_MICROSECONDS, _NANOSECONDS = 6, 9
_OFFSET = r" ([+-]\d\d:\d\d)$"

_Values = Sequence[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultColumn:
    """A column of a result: its name, its Arrow type, and how values as they were sent become an array of it."""

    name: str
    type: pa.DataType
    convert: Callable[[_Values], pa.Array]


def result_column(name: str, kind: str) -> ResultColumn:
    """Return the column for what Trino says of it: its name and its type."""
    arrow, convert = _choose(kind.strip())
    return ResultColumn(name=name, type=arrow, convert=convert)


def arrow_schema(columns: Sequence[ResultColumn]) -> pa.Schema:
    """Return the schema of a result."""
    return pa.schema([pa.field(column.name, column.type) for column in columns])


def arrow_batch(rows: Sequence[Sequence[Any]], columns: Sequence[ResultColumn], schema: pa.Schema) -> pa.RecordBatch:
    """Return some rows as a batch.

    Raises configuration ``VALUE_NOT_SUPPORTED`` for a value that Arrow cannot hold, and transient
    ``UNREADABLE_ANSWER`` for a row that has other than one value for each column.
    """
    arrays = []
    for column, values in _by_column(rows, columns):
        try:
            arrays.append(column.convert(values))
        except (pa.ArrowException, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise configuration(
                "VALUE_NOT_SUPPORTED",
                f'Column "{column.name}" holds a value that is no {column.type}: cast the column to varchar',
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _by_column(rows: Sequence[Sequence[Any]], columns: Sequence[ResultColumn]) -> list[tuple[ResultColumn, _Values]]:
    try:
        return list(zip(columns, zip(*rows, strict=True), strict=True))
    except (TypeError, ValueError) as error:
        raise transient("UNREADABLE_ANSWER", "Trino sent a row that does not fit the columns of the result") from error


def _choose(kind: str) -> tuple[pa.DataType, Callable[[_Values], pa.Array]]:  # noqa: PLR0911 - one for each type
    lower = kind.lower()
    if lower in _PLAIN:
        arrow = _PLAIN[lower]
        return arrow, lambda values: pa.array(values, arrow)
    if lower in _FLOATS:
        arrow = _FLOATS[lower]
        return arrow, lambda values: _each(values, arrow, float)
    if match := _DECIMAL.fullmatch(lower):
        arrow = pa.decimal128(int(match[1]), int(match[2]))
        return arrow, lambda values: _texts(values).cast(arrow)
    if lower == "date":
        return pa.date32(), lambda values: _texts(values).cast(pa.date32())
    if lower == "varbinary":
        return pa.binary(), lambda values: _each(values, pa.binary(), _base64)
    if (match := _TIMESTAMP.fullmatch(lower)) and _decimals(match[1]) <= _NANOSECONDS:
        return _timestamps("us" if _decimals(match[1]) <= _MICROSECONDS else "ns", zoned=match[2] is not None)
    if (match := _TIME.fullmatch(lower)) and _decimals(match[1]) <= _MICROSECONDS:
        return pa.time64("us"), lambda values: _each(values, pa.time64("us"), time.fromisoformat)
    if lower.startswith(("array(", "map(", "row(")):
        write = nested_text(kind)
        return pa.string(), lambda values: _each(values, pa.string(), lambda value: _json(write(value)))
    return pa.string(), lambda values: _each(values, pa.string(), _text)


def _decimals(written: str | None) -> int:
    return _DEFAULT_DECIMALS if written is None else int(written)


def _timestamps(unit: str, *, zoned: bool) -> tuple[pa.DataType, Callable[[_Values], pa.Array]]:
    if not zoned:
        naive = pa.timestamp(unit)
        return naive, lambda values: _texts(values).cast(naive)
    return pa.timestamp(unit, "UTC"), lambda values: _zoned(values, pa.timestamp(unit, "UTC"))


def _zoned(values: _Values, arrow: pa.DataType) -> pa.Array:
    """Read times with a zone: in UTC or at an offset all at once, those in a named zone one by one."""
    texts = _texts(values)
    marked = pc.replace_substring_regex(pc.replace_substring_regex(texts, r" UTC$", "Z"), _OFFSET, r"\1")
    if not pc.any(pc.match_substring(pc.utf8_slice_codeunits(marked, 19), " ")).as_py():
        return marked.cast(arrow)
    return _each(values, arrow, read_zoned)


def _texts(values: _Values) -> pa.Array:
    return pa.array(values, pa.string())


def _each(values: _Values, kind: pa.DataType, convert: Callable[[Any], Any]) -> pa.Array:
    return pa.array([None if value is None else convert(value) for value in values], kind)


def _base64(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
