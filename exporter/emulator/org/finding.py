"""Finding records by key: for upserts, relationships, references and unique fields."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.emulator.org.schema import FOLD, NUMBER_TYPES, TEXT_TYPES, Field, ObjectType, OrgSchema
from exporter.rows.key_forms import fold as fold_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """What a write works with: an open transaction, the schema, the user and the time of the write as stored text."""

    db: sqlite3.Connection
    schema: OrgSchema
    user: str
    now: str


def fold(field: Field, value: object) -> object:
    """Return what two values of a field have in common if they are the same to Salesforce."""
    if not isinstance(value, str) or field.tells_case or field.type not in TEXT_TYPES:
        return value
    return fold_text(value)


def fold_all(field: Field, values: Sequence[object]) -> list[object]:
    """Return :func:`fold` of each value."""
    if field.tells_case or field.type not in TEXT_TYPES:
        return list(values)
    return [value.lower() if isinstance(value, str) and value.isascii() else fold(field, value) for value in values]


def find_by(
    db: sqlite3.Connection, each: ObjectType, field: Field, values: Iterable[object]
) -> dict[object, list[str]]:
    """Return the Ids of the records, not deleted, that have one of these values, by :func:`fold` of the value."""
    kind = "CAST(k.value AS NUMERIC)" if field.type in NUMBER_TYPES else "k.value"
    wanted = dict.fromkeys(fold_all(field, list(values)))
    # The index knows the case of ASCII's letters only; for others every record is looked at.
    odd = [] if field.tells_case else [value for value in wanted if isinstance(value, str) and not value.isascii()]
    records: dict[str, object] = {}
    for some, name in ((list(wanted), f't."{field.name}"'), (odd, f'{FOLD}(t."{field.name}")')):
        if some:
            sql = (
                f'SELECT t."{field.name}", t."Id" FROM json_each(?) k '  # noqa: S608 - names of the schema
                f'CROSS JOIN "{each.name}" t ON {name} = {kind} AND t."IsDeleted" = 0'
            )
            records |= {row[1]: row[0] for row in db.execute(sql, (json.dumps(some),))}
    found: dict[object, list[str]] = {}
    for value, record in zip(fold_all(field, list(records.values())), records, strict=True):
        found.setdefault(value, []).append(record)
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
