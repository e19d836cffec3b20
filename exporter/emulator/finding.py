"""Finding records by key: for upserts, relationships, references and unique fields."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.emulator.schema import NUMBER_TYPES, TEXT_TYPES, Field, ObjectType, OrgSchema

_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """What a write works with: an open transaction, the schema, the user and the time of the write as stored text."""

    db: sqlite3.Connection
    schema: OrgSchema
    user: str
    now: str


def fold(field: Field, value: object) -> object:
    """Return what two values of a field have in common if they are the same to Salesforce.

    Case is told apart only where the field says so; the emulator folds the 26 letters of ASCII, as SQLite does.
    """
    if not isinstance(value, str) or field.case_sensitive or field.type not in TEXT_TYPES:
        return value
    return value.lower() if value.isascii() else value.translate(_LOWER)


def fold_all(field: Field, values: Sequence[object]) -> list[object]:
    """Return :func:`fold` of each value."""
    if field.case_sensitive or field.type not in TEXT_TYPES:
        return list(values)
    return [value.lower() if isinstance(value, str) and value.isascii() else fold(field, value) for value in values]


def find_by(
    db: sqlite3.Connection, each: ObjectType, field: Field, values: Iterable[object]
) -> dict[object, list[str]]:
    """Return the Ids of the records, not deleted, that have one of these values, by :func:`fold` of the value."""
    kind = "CAST(k.value AS NUMERIC)" if field.type in NUMBER_TYPES else "k.value"
    sql = (
        f'SELECT t."{field.name}", t."Id" FROM json_each(?) k '  # noqa: S608 - names of the schema
        f'CROSS JOIN "{each.name}" t ON t."{field.name}" = {kind} AND t."IsDeleted" = 0'
    )
    wanted = dict.fromkeys(fold_all(field, list(values)))
    rows = db.execute(sql, (json.dumps(list(wanted)),)).fetchall()
    found: dict[object, list[str]] = {}
    for value, row in zip(fold_all(field, [row[0] for row in rows]), rows, strict=True):
        found.setdefault(value, []).append(row[1])
    return {value: sorted(ids) if len(ids) > 1 else ids for value, ids in found.items()}


def find_ids(db: sqlite3.Connection, each: ObjectType, ids: Iterable[str]) -> dict[str, bool]:
    """Return which of these records exist, and whether they are in the recycle bin."""
    sql = (
        'SELECT t."Id" AS id, t."IsDeleted" AS deleted FROM json_each(?) k '  # noqa: S608 - names of the schema
        f'CROSS JOIN "{each.name}" t ON t."Id" = k.value'
    )
    return {row["id"]: bool(row["deleted"]) for row in db.execute(sql, (json.dumps(list(ids)),))}


def parents_of(schema: OrgSchema, field: Field) -> Mapping[str, ObjectType]:
    """Return the objects that a reference may lead to, by the prefix of their Ids."""
    parents = (schema.find(name) for name in field.reference_to)
    return {parent.prefix: parent for parent in parents if parent is not None}


def missing_parents(desk: Desk, field: Field, ids: Sequence[str]) -> set[str]:
    """Return those of the Ids that lead to no record which the field may refer to."""
    parents = parents_of(desk.schema, field)
    wanted: dict[str, set[str]] = {}
    for each in ids:
        wanted.setdefault(each[:3], set()).add(each)
    missing: set[str] = set()
    for prefix, group in wanted.items():
        parent = parents.get(prefix)
        alive = {found for found, deleted in find_ids(desk.db, parent, group).items() if not deleted} if parent else ()
        missing |= group.difference(alive)
    return missing
