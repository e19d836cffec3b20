"""From the values that any driver makes of a database's to Arrow's, without bending one.

A driver says little of its columns' types before the rows come, so the values of the first batch decide. Whole
numbers, floats, booleans, dates, times, bytes and texts keep their type where all are of one kind. The rest goes out as
text: decimals with every digit, UUIDs, intervals, lists and maps as JSON, columns whose values are of several kinds. A
later value that does not fit its column's type is a configuration failure that says what to do.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from exporter.failures import ExportError, configuration
from exporter.rows.casts import mixed
from exporter.sources.shared.result_columns import (
    OUT_OF_RANGE,
    OutOfRangeError,
    beyond,
    marked_json,
    marked_numeral,
    numeral,
    out_of_range,
)

_NUMBERS = frozenset({"integer", "float"})
_BOUNDED = frozenset({"instant", "local", "date", "time"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column as the first batch has it: its name, what its values are (several kinds: ``text``), its Arrow type."""

    name: str
    kind: str
    type: pa.DataType


def decide(names: Sequence[str], rows: Sequence[Sequence[Any]], *, loose_numbers: bool = False) -> list[Column]:
    """Return the columns of a result by its first rows.

    ``loose_numbers``: the engine gives whole numbers and others in one column, so that all of them go out as text.
    """
    kept = {name: kind for name, kind in _KINDS.items() if not (loose_numbers and name in _NUMBERS)}
    columns = []
    for number, name in enumerate(names):
        found = {_kind_of(row[number]) for row in rows if row[number] not in (None, OUT_OF_RANGE)}
        kind = found.pop() if len(found) == 1 else "text"
        kind = kind if kind in kept else "text"
        columns.append(Column(name=name, kind=kind, type=_KINDS[kind][0]))
    return columns


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the schema of a result."""
    return pa.schema([mixed(each.name) if each.kind == "text" else pa.field(each.name, each.type) for each in columns])


def arrow_batch(rows: Sequence[Sequence[Any]], columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    """Return some rows as a batch. Raises configuration ``VALUE_NOT_SUPPORTED`` for a value that is of another kind."""
    parts = zip(columns, zip(*rows, strict=True), strict=True)
    return pa.RecordBatch.from_arrays([_array(column, values) for column, values in parts], schema=schema)


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    convert = _KINDS[column.kind][1]
    if column.kind in _BOUNDED and OUT_OF_RANGE in values:
        convert = _unless_beyond(convert)
        values = beyond(values, column.type)
    try:
        return pa.array([None if value is None else convert(value) for value in values], column.type)
    except OutOfRangeError as error:  # in a list
        raise out_of_range(column.name) from error
    except (pa.ArrowException, ArithmeticError, TypeError, ValueError) as error:
        raise (out_of_range(column.name) if OUT_OF_RANGE in values else _unfit(column)) from error


def _unless_beyond(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what converts a column's values but for those that are beyond what a driver has values for."""
    return lambda value: value if type(value) is int else convert(value)


def _unfit(column: Column) -> ExportError:
    kind = "text with a time zone" if column.kind == "text" else column.type
    return configuration(
        "VALUE_NOT_SUPPORTED",
        f'Column "{column.name}" holds a value that is no {kind}, unlike the rows before it: cast the column',
    )


def _kind_of(value: object) -> str:
    for kind, fits in _TESTS.items():
        if fits(value):
            return kind
    return "text"


def _of(*types: type) -> Callable[[Any], Any]:
    """Return what gives a value of exactly these types back, and refuses any other."""

    def same(value: Any) -> Any:  # noqa: ANN401 - what a driver makes
        if type(value) not in types:
            raise TypeError("of another kind")
        return value

    return same


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise TypeError("no time with a zone")
    return value.astimezone(UTC)


def _local(value: object) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is not None:
        raise TypeError("no time without a zone")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("no bytes")
    return bytes(value)


def _text(value: object) -> str:  # noqa: PLR0911 - one for each type
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() | Decimal():
            return marked_numeral(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case datetime():
            return f"{_instant(value):%Y-%m-%dT%H:%M:%S.%f}Z"
        case date() | time():
            return value.isoformat()
        case timedelta():
            return _interval(value)
        case list() | tuple() | dict():
            return marked_json(value, _inner)
        case _:
            return str(value)


def _inner(value: object) -> str:
    return numeral(value) if isinstance(value, Decimal) else _text(value)


def _interval(value: timedelta) -> str:
    seconds, sign = abs(value), "-" if value < timedelta(0) else ""
    minutes, second = divmod(seconds.days * 86_400 + seconds.seconds, 60)
    fraction = f".{seconds.microseconds:06}" if seconds.microseconds else ""
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}:{second:02}{fraction}"


_TESTS: Mapping[str, Callable[[Any], bool]] = {
    "boolean": lambda value: type(value) is bool,
    "integer": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "float": lambda value: type(value) is float,
    "instant": lambda value: isinstance(value, datetime) and value.utcoffset() is not None,
    "local": lambda value: isinstance(value, datetime),
    "date": lambda value: type(value) is date,
    "time": lambda value: type(value) is time and value.tzinfo is None,
    "bytes": lambda value: isinstance(value, bytes | bytearray | memoryview),
}
"""By the first that holds."""
_KINDS: Mapping[str, tuple[pa.DataType, Callable[[Any], Any]]] = {
    "boolean": (pa.bool_(), _of(bool)),
    "integer": (pa.int64(), _of(int)),
    "float": (pa.float64(), _of(float)),
    "instant": (pa.timestamp("us", "UTC"), _instant),
    "local": (pa.timestamp("us"), _local),
    "date": (pa.date32(), _of(date)),
    "time": (pa.time64("us"), _of(time)),
    "bytes": (pa.binary(), _bytes),
    "text": (pa.string(), _text),
}
