"""From what an ADBC driver gives to what every target takes, one rule per type, chunk by chunk.

======================================  ==============================================================
Arrow                                   becomes
======================================  ==============================================================
list, struct, map                       JSON text; decimals with every digit, times as ISO 8601
dictionary, run-end encoded             its values
views of text or bytes                  large text, large binary
extension types of a driver's own       what they are stored as: PostgreSQL's numeric is exact text
decimal of 32 or 64 bits, half floats   decimal of 128 bits, float of 32
anything else                           itself
======================================  ==============================================================
"""

import base64
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exporter.failures import configuration

_Cast = Callable[[pa.Array], pa.Array]
_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


class Plain:
    """The rules of one schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self._rules = [_rule(field.type) for field in schema]
        fields = [pa.field(field.name, kind) for field, (kind, _) in zip(schema, self._rules, strict=True)]
        self.schema = pa.schema(fields)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch of the schema in plain types. Raises configuration ``VALUE_NOT_SUPPORTED``."""
        columns = []
        for field, column, (_, cast) in zip(self.schema, batch.columns, self._rules, strict=True):
            try:
                columns.append(cast(column))
            except (pa.ArrowException, KeyError, OverflowError, TypeError, ValueError) as error:
                raise configuration(
                    "VALUE_NOT_SUPPORTED", f'Column "{field.name}" holds a value that has no text: cast it in the query'
                ) from error
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch whose texts lie together: a piece of views keeps, and weighs, the text of the whole batch."""
    if not _VIEWS.keys() & set(batch.schema.types):
        return batch
    columns = [column.cast(_VIEWS[column.type]) if column.type in _VIEWS else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _rule(kind: pa.DataType) -> tuple[pa.DataType, _Cast]:
    """Return the plain type that stands for a type, and the cast to it."""
    for fits, rule in _RULES:
        if fits(kind):
            return rule(kind)
    return kind, _same


def _values(kind: pa.DataType) -> tuple[pa.DataType, _Cast]:
    decode = pc.run_end_decode if pa.types.is_run_end_encoded(kind) else pc.dictionary_decode
    return _after(kind.value_type, decode)


def _storage(kind: pa.DataType) -> tuple[pa.DataType, _Cast]:
    return _after(kind.storage_type, lambda column: column.storage)


def _after(kind: pa.DataType, first: _Cast) -> tuple[pa.DataType, _Cast]:
    plain, cast = _rule(kind)
    return plain, lambda column: cast(first(column))


def _to(plain: pa.DataType) -> tuple[pa.DataType, _Cast]:
    return plain, lambda column: column.cast(plain)


def _same(column: pa.Array) -> pa.Array:
    return column


def _json_texts(column: pa.Array) -> pa.Array:
    values = column.to_pylist(maps_as_pydicts="strict")
    return pa.array([None if value is None else _json(value) for value in values], pa.string())


def _json(value: Any) -> str:  # noqa: ANN401 - whatever Arrow holds
    match value:
        case dict():
            return (
                "{"
                + ",".join(f"{json.dumps(_key(key), ensure_ascii=False)}:{_json(each)}" for key, each in value.items())
                + "}"
            )
        case list() | tuple():
            return "[" + ",".join(map(_json, value)) + "]"
        case None | bool() | int():
            return json.dumps(value)
        case float() if value - value == 0:
            return repr(value)
        case Decimal() if value.is_finite():
            return f"{value:f}"
        case _:
            return json.dumps(_key(value), ensure_ascii=False)


def _key(value: Any) -> str:  # noqa: ANN401 - whatever Arrow holds
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
        case _:
            return value if isinstance(value, str) else str(value)


_RULES: Sequence[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], tuple[pa.DataType, _Cast]]]] = (
    (lambda kind: isinstance(kind, pa.UuidType | pa.JsonType), lambda kind: (kind, _same)),
    (
        lambda kind: isinstance(kind, pa.Bool8Type),
        lambda _: (pa.bool_(), lambda column: pc.not_equal(column.storage, 0)),
    ),
    (lambda kind: isinstance(kind, pa.BaseExtensionType), _storage),
    (lambda kind: pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind), _values),
    (lambda kind: pa.types.is_nested(kind) and not pa.types.is_union(kind), lambda _: (pa.string(), _json_texts)),
    (lambda kind: kind in _VIEWS, lambda kind: _to(_VIEWS[kind])),
    (pa.types.is_float16, lambda _: _to(pa.float32())),
    (
        lambda kind: pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind),
        lambda kind: _to(pa.decimal128(kind.precision, kind.scale)),
    ),
)
"""What a type fits first, and its rule."""
