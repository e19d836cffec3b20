"""From the columns of a MySQL result to Arrow's, as exact as the server writes them.

The server sends every value as text, which Arrow reads a column at a time. What its types hold and Arrow's do not (the
date 0000-00-00, a TIME of more than a day) is a configuration failure that says how to cast it; no value is bent.
MySQL has no booleans: a ``BOOL`` or ``TINYINT(1)`` is a number, and may hold any from -128 to 127.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time

import pyarrow as pa
from pymysql.constants import FIELD_TYPE, FLAG

from exporter.failures import ExportError, configuration

_BINARY = 63
"""The character set of what is no text."""
_WIDE = 38
"""Digits of Arrow's smaller decimal."""
_SIGNED = {
    FIELD_TYPE.TINY: pa.int8(),
    FIELD_TYPE.SHORT: pa.int16(),
    FIELD_TYPE.YEAR: pa.int16(),
    FIELD_TYPE.INT24: pa.int32(),
    FIELD_TYPE.LONG: pa.int32(),
    FIELD_TYPE.LONGLONG: pa.int64(),
}
_UNSIGNED = {
    FIELD_TYPE.TINY: pa.uint8(),
    FIELD_TYPE.SHORT: pa.uint16(),
    FIELD_TYPE.YEAR: pa.uint16(),
    FIELD_TYPE.INT24: pa.uint32(),
    FIELD_TYPE.LONG: pa.uint32(),
    FIELD_TYPE.LONGLONG: pa.uint64(),
}
_OTHERS = {
    FIELD_TYPE.FLOAT: pa.float32(),
    FIELD_TYPE.DOUBLE: pa.float64(),
    FIELD_TYPE.DATE: pa.date32(),
    FIELD_TYPE.NEWDATE: pa.date32(),
    FIELD_TYPE.DATETIME: pa.timestamp("us"),
    FIELD_TYPE.TIMESTAMP: pa.timestamp("us", "UTC"),
    FIELD_TYPE.TIME: pa.time64("us"),
    FIELD_TYPE.BIT: pa.uint64(),
    FIELD_TYPE.JSON: pa.string(),
    FIELD_TYPE.NULL: pa.string(),
}
_DECIMALS = (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL)
_TEXTS = (
    FIELD_TYPE.VARCHAR,
    FIELD_TYPE.VAR_STRING,
    FIELD_TYPE.STRING,
    FIELD_TYPE.ENUM,
    FIELD_TYPE.SET,
    FIELD_TYPE.TINY_BLOB,
    FIELD_TYPE.MEDIUM_BLOB,
    FIELD_TYPE.LONG_BLOB,
    FIELD_TYPE.BLOB,
)
_GEOMETRY = "cast it with ST_AsText"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerColumn:
    """A column as the server describes it; ``length`` is its longest text's, ``charset`` its letters' number there."""

    name: str
    type: int
    flags: int = 0
    length: int = 0
    scale: int = 0
    charset: int = _BINARY


def arrow_schema(columns: Sequence[ServerColumn]) -> pa.Schema:
    """Return the schema of a result. Raises configuration ``TYPE_NOT_SUPPORTED`` for geometries and vectors."""
    return pa.schema([pa.field(column.name, _arrow_type(column)) for column in columns])


def _arrow_type(column: ServerColumn) -> pa.DataType:
    unsigned = bool(column.flags & FLAG.UNSIGNED)
    integers = _UNSIGNED if unsigned else _SIGNED
    if column.type in integers:
        return integers[column.type]
    if column.type in _OTHERS:
        return _OTHERS[column.type]
    if column.type in _DECIMALS:
        digits = column.length - (not unsigned) - (column.scale > 0)
        return pa.decimal128(_WIDE, column.scale) if digits <= _WIDE else pa.decimal256(2 * _WIDE, column.scale)
    if column.type in _TEXTS:
        return pa.binary() if column.charset == _BINARY else pa.string()
    advice = _GEOMETRY if column.type == FIELD_TYPE.GEOMETRY else "cast it to CHAR or BINARY"
    raise configuration("TYPE_NOT_SUPPORTED", f'Column "{column.name}" is of a type that has no text form: {advice}')


def arrow_batch(
    rows: Sequence[Sequence[bytes | None]], columns: Sequence[ServerColumn], schema: pa.Schema
) -> pa.RecordBatch:
    """Return some rows, each value as the server wrote it, as a batch.

    Raises configuration ``VALUE_NOT_SUPPORTED`` for a value that Arrow cannot hold, ``NOT_UTF8`` for a broken text.
    """
    parts = zip(columns, schema.types, zip(*rows, strict=True), strict=True)
    return pa.RecordBatch.from_arrays([_array(*part) for part in parts], schema=schema)


def _array(column: ServerColumn, kind: pa.DataType, values: Sequence[bytes | None]) -> pa.Array:
    try:
        if column.type == FIELD_TYPE.BIT:
            return pa.array([None if value is None else int.from_bytes(value, "big") for value in values], kind)
        if column.type == FIELD_TYPE.TIME:
            return pa.array([None if value is None else time.fromisoformat(value.decode()) for value in values], kind)
        written = pa.array(values, pa.binary())
        if kind == pa.binary():
            return written
        text = written.cast(pa.string())
        if column.type == FIELD_TYPE.TIMESTAMP:  # the session is in UTC, which the text does not say
            return text.cast(pa.timestamp("us")).cast(pa.int64()).cast(kind)
        return text.cast(kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise _unsupported(column, kind) from error


def _unsupported(column: ServerColumn, kind: pa.DataType) -> ExportError:
    if kind == pa.string():
        return configuration(
            "NOT_UTF8", f'Column "{column.name}" holds a text that is not UTF-8: cast it to BINARY, or fix it'
        )
    what = next(
        (words for types, words in _MISFITS.items() if column.type in types), f"value that is no {kind}: {_CAST}"
    )
    return configuration("VALUE_NOT_SUPPORTED", f'Column "{column.name}" holds a {what}')


_CAST = "cast the column to CHAR"
_MISFITS: Mapping[tuple[int, ...], str] = {
    (FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP): (
        f"date that no calendar has, such as 0000-00-00: make it NULL with NULLIF(column, 0), or {_CAST}"
    ),
    (FIELD_TYPE.TIME,): f"time that is no time of a day: {_CAST}",
}
