"""From the columns of a PostgreSQL result to Arrow's, value by value as exact as they came.

Types that have no Arrow type of the same values go out as PostgreSQL's own text: numeric (whose scale may differ from
row to row), uuid, json, enumerations, addresses, intervals, ranges.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
from psycopg.adapt import Loader
from psycopg.types.string import TextLoader

from exporter.failures import configuration
from exporter.rows.casts import numeral
from exporter.sources.shared.result_columns import OUT_OF_RANGE, beyond

if TYPE_CHECKING:
    from psycopg.abc import AdaptContext, Buffer

_TYPES = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "oid": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
_AS_TEXT = ("numeric", "uuid", "json", "jsonb", "interval", "timetz", "inet", "cidr")
"""Types of which psycopg would make objects of its own."""
_BOUNDED = ("date", "time", "timestamp", "timestamptz")
"""Types that reach further than Python's: to infinity, BC, years of five digits, 24:00."""


def keep_text(context: "AdaptContext", *, but: Collection[str] = ()) -> None:
    """Have a connection give the values of such types, ``but`` those named, as the server writes them.

    A date or time that Python has no value for comes as :data:`OUT_OF_RANGE`.
    """
    for name in set(_AS_TEXT).difference(but):
        context.adapters.register_loader(name, TextLoader)
    for name in _BOUNDED:
        given = context.adapters.get_loader(context.adapters.types[name].oid, psycopg.pq.Format.TEXT)
        if given is not None:
            context.adapters.register_loader(name, _bounded(given))


def _bounded(given: "type[psycopg.abc.Loader]") -> type[Loader]:
    """Return a loader that gives :data:`OUT_OF_RANGE` for what Python has no value for.

    An error of the driver's own would tell neither row nor column.
    """

    class Bounded(Loader):
        def __init__(self, oid: int, context: "AdaptContext | None" = None) -> None:
            super().__init__(oid, context)
            self._load = given(oid, context).load

        def load(self, data: "Buffer") -> object:
            try:
                return self._load(data)
            except psycopg.DataError:
                return OUT_OF_RANGE

    return Bounded


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerColumn:
    """A column as the server describes it: its name, and the number of its type there."""

    name: str
    oid: int


def describe(connection: "psycopg.Connection[Any]", sql: str, values: Sequence[object]) -> list[ServerColumn]:
    """Return the columns that a statement would give, without running it. Raises psycopg.Error."""
    wire = connection.pgconn
    types = [_parameter_oid(value) for value in values]
    result = wire.prepare(b"", sql.encode(), types)
    if result.status == psycopg.pq.ExecStatus.COMMAND_OK:
        result = wire.describe_prepared(b"")
    if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(result, "utf-8")
    return [
        ServerColumn(name=(result.fname(number) or b"").decode(), oid=result.ftype(number))
        for number in range(result.nfields)
    ]


def _parameter_oid(value: object) -> int:
    """Return the number of the type that a value is sent as; 0 leaves it to the server."""
    kinds = ((bool, "bool"), (int, "int8"), (float, "float8"), (datetime, "timestamptz"))
    name = next((name for kind, name in kinds if isinstance(value, kind)), None)
    return 0 if name is None else psycopg.adapters.types[name].oid


def arrow_schema(context: "AdaptContext", columns: Sequence[ServerColumn]) -> pa.Schema:
    """Return the schema of a result. Raises configuration ``TYPE_NOT_SUPPORTED`` for arrays."""
    return pa.schema([_arrow_field(context, column) for column in columns])


def _arrow_field(context: "AdaptContext", column: ServerColumn) -> pa.Field:
    info = context.adapters.types.get(column.oid)
    if info is None:
        return pa.field(column.name, pa.string())
    if info.array_oid == column.oid:
        raise configuration(
            "TYPE_NOT_SUPPORTED",
            f"Column \"{column.name}\" is an array: make a text of it, such as array_to_string({column.name}, ';')",
        )
    if info.name == "numeric":
        return numeral(column.name)
    return pa.field(column.name, _TYPES.get(info.name, pa.string()))


def arrow_batch(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Return some rows as a batch. Raises configuration ``VALUE_NOT_SUPPORTED`` for a value that Arrow cannot hold."""
    arrays = []
    for field, values in zip(schema, zip(*rows, strict=True), strict=True):
        try:
            arrays.append(pa.array(beyond(values, field.type) if OUT_OF_RANGE in values else values, field.type))
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise configuration(
                "VALUE_NOT_SUPPORTED",
                f'Column "{field.name}" holds a value that is no {field.type}: cast the column to text',
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
