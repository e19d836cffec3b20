"""From the header of a batch to fields: by name, or by a path to a parent's external id."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.emulator.org.field_values import LEAVE, Column, Errors, Value, read_column
from exporter.emulator.org.finding import Desk, find_by, fold
from exporter.emulator.org.record_table import BatchError, Table
from exporter.emulator.org.schema import Field, ObjectType, OrgSchema


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """A column of the batch and the field that it sets; with ``parent`` and ``key``, by the Id of the parent found."""

    field: Field
    parent: ObjectType | None = None
    key: Field | None = None


_PATH = re.compile(r"(?:(?P<type>\w+):)?(?P<relationship>\w+)\.(?P<field>\w+)", re.ASCII)


def bind_header(schema: OrgSchema, each: ObjectType, header: Sequence[str]) -> list[Bound]:
    """Find the field of each column, any case. Raises BatchError for the first that has none."""
    bound = []
    for name in header:
        field = each.field(name)
        bound.append(Bound(field=field) if field is not None else _bind_path(schema, each, name))
    names = [one.field.name for one in bound]
    for name in names:
        if names.count(name) > 1:
            raise BatchError(f"InvalidBatch : Duplicate field name : {name}")
    return bound


def _bind_path(schema: OrgSchema, each: ObjectType, name: str) -> Bound:
    unknown = BatchError(f"InvalidBatch : Field name not found : {name}")
    match = _PATH.fullmatch(name)
    link = each.relationships.get(match["relationship"].lower()) if match else None
    if match is None or link is None:
        raise unknown
    if match["type"] is None and len(link.reference_to) > 1:
        raise BatchError(f"InvalidBatch : Type is needed for polymorphic foreign key : {name}")
    if match["type"] is not None and len(link.reference_to) == 1:
        raise BatchError(f"InvalidBatch : type is not needed for non polymorphic foreign key : {name}")
    wanted = match["type"] or link.reference_to[0]
    if wanted.lower() not in {parent.lower() for parent in link.reference_to}:
        raise unknown
    parent = schema.find(wanted)
    key = parent.field(match["field"]) if parent else None
    if parent is None or key is None or not key.is_key:
        raise unknown
    return Bound(field=link, parent=parent, key=key)


def read_columns(desk: Desk, bound: Sequence[Bound], table: Table, errors: Errors) -> list[Column]:
    """Read all columns of a batch; rows with a value that cannot be are in ``errors`` afterwards."""
    columns = []
    for place, (one, cells) in enumerate(zip(bound, table.columns, strict=True)):
        if one.parent is None or one.key is None:
            columns.append(read_column(one.field, cells, place, errors))
        else:
            keys = read_column(one.key, cells, place, errors)
            columns.append(_resolve(desk, one.field, one.parent, keys, errors))
    return columns


def _resolve(desk: Desk, link: Field, parent: ObjectType, keys: Column, errors: Errors) -> Column:
    """Find the parents by their keys. An empty cell leaves the link alone, as any other (Bulk API guide)."""
    field = keys.field
    found = find_by(desk.db, parent, field, (key for key in keys.values if key is not None and key is not LEAVE))
    values: list[Value] = []
    for row, key in enumerate(keys.values):
        if key is LEAVE or key is None:
            values.append(key)
            continue
        ids = found.get(fold(field, key), [])
        values.append(ids[0] if ids else None)
        if len(ids) == 1:
            continue
        if ids:
            message = f"{field.name}: more than one record found for external id field: [{', '.join(ids)}]"
            errors.add(row, "DUPLICATE_EXTERNAL_ID", message, field.name)
        else:
            message = f"Foreign key external ID: {key} not found for field {field.name} in entity {parent.name}"
            errors.add(row, "INVALID_FIELD", message)
    return Column(field=link, values=values, gaps=keys.gaps)
