"""Which columns of a query go out, under which names, and the strings that are built for them. Pure."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from exporter.failures import configuration
from exporter.rows.casts import NULLS
from exporter.settings.mapping import MappedColumn, MappingParameter, OutputMapping, Segment

_PLACEHOLDER = re.compile(r"\$([0-9]+)")
_TIMESTAMP_FORMAT = "%Y-%m-%d %H:%M:%S"
"""What a Timestamp without a format becomes: Treasure Data's page names no form."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    """A column that goes out: the query's column at ``place``, or else the same ``text`` in every row."""

    name: str
    place: int | None = None
    text: str = ""
    nulls: str | None = None


def apply_mapping(
    rows: pa.RecordBatchReader, mapping: OutputMapping | None, *, segment: Segment | None, exported_at: datetime
) -> pa.RecordBatchReader:
    """Return ``rows`` with the columns that ``mapping`` asks for; without one, ``rows`` itself.

    ``all_columns`` keeps the query's columns in their order; one that ``columns`` names as a source goes out in its
    place under the new name, or under each of several; built strings follow at the end. Without ``all_columns`` the
    columns are those of ``columns``, in that order. What ``columns`` says of NULLs goes along as the field's metadata.
    In a built string ``$1``, ``$2``, … stand for the parameters; a Timestamp is ``exported_at`` (aware) in UTC.

    Raises configuration ``MISSING_COLUMN``, with the nearest name, ``DUPLICATE_COLUMN`` and ``NO_SEGMENT_VALUE``.
    """
    if mapping is None:
        return rows
    columns = _plan(mapping, rows.schema.names, segment, exported_at)
    schema = pa.schema(
        [
            pa.field(each.name, pa.string())
            if each.place is None
            else _told(rows.schema.field(each.place).with_name(each.name), each.nulls)
            for each in columns
        ]
    )
    return pa.RecordBatchReader.from_batches(schema, _mapped(rows, columns, schema))


def _told(field: pa.Field, nulls: str | None) -> pa.Field:
    """Return the field with what its NULLs do, where the mapping says so; the casts look for it."""
    return field if nulls is None else field.with_metadata({**(field.metadata or {}), NULLS: nulls.encode()})


def _mapped(rows: pa.RecordBatchReader, columns: Sequence[_Column], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in rows:
        arrays = [
            pa.repeat(each.text, batch.num_rows) if each.place is None else batch.column(each.place) for each in columns
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _plan(
    mapping: OutputMapping, names: Sequence[str], segment: Segment | None, exported_at: datetime
) -> list[_Column]:
    places = {name: place for place, name in enumerate(names)}
    named = [_column(each, places, segment, exported_at) for each in mapping.columns]
    columns = named
    if mapping.all_columns:
        columns = []
        for place, name in enumerate(names):
            columns += [each for each in named if each.place == place] or [_Column(name=name, place=place)]
        columns += [each for each in named if each.place is None]
    seen: set[str] = set()
    for each in columns:
        if each.name in seen:
            raise configuration(
                "DUPLICATE_COLUMN", f'The mapping sends two columns as "{each.name}": give one of them another name'
            )
        seen.add(each.name)
    return columns


def _column(mapped: MappedColumn, places: dict[str, int], segment: Segment | None, exported_at: datetime) -> _Column:
    if mapped.source is None:
        return _Column(name=mapped.column, text=_build(mapped, segment, exported_at))
    if mapped.source not in places:
        nearest = difflib.get_close_matches(mapped.source, places, n=1, cutoff=0.5)
        hint = f'did you mean "{nearest[0]}"?' if nearest else "its columns are " + ", ".join(places)
        raise configuration("MISSING_COLUMN", f'The query has no column "{mapped.source}" to send: {hint}')
    return _Column(name=mapped.column, place=places[mapped.source], nulls=mapped.nulls)


def _build(mapped: MappedColumn, segment: Segment | None, exported_at: datetime) -> str:
    values = [_value(each, mapped.column, segment, exported_at) for each in mapped.parameters]
    return _PLACEHOLDER.sub(lambda match: values[int(match[1]) - 1], mapped.string or "")


def _value(parameter: MappingParameter, column: str, segment: Segment | None, exported_at: datetime) -> str:
    if parameter.type == "Timestamp":
        return exported_at.astimezone(UTC).strftime(parameter.format or _TIMESTAMP_FORMAT)
    if parameter.segment_key is None:
        return parameter.string or ""
    value = None if segment is None else getattr(segment, parameter.segment_key)
    if value is None:
        raise configuration(
            "NO_SEGMENT_VALUE",
            f'The built string of "{column}" needs the {parameter.type}: set {parameter.segment_key} under segment',
        )
    return str(value)
