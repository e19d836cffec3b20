"""The SQL that writes rows: one prepared statement per batch, never one per row."""

from collections.abc import Iterable, Sequence
from itertools import repeat

from exporter.emulator.org.field_values import LEAVE, Column
from exporter.emulator.org.finding import Desk
from exporter.emulator.org.schema import ObjectType


def insert_rows(desk: Desk, each: ObjectType, columns: Sequence[Column], ids: Sequence[str]) -> None:
    """Insert records. A custom object's record without a name is called by its Id, as Salesforce does."""
    if not ids:
        return
    names = ["Id", "CreatedDate", "LastModifiedDate"]
    values: list[Iterable[object]] = [ids, repeat(desk.now), repeat(desk.now)]
    named = False
    for column in columns:
        names.append(column.field.name)
        if each.custom and column.field.name == "Name":
            named = True
            values.append([value or record for value, record in zip(column.values, ids, strict=True)])
        else:
            values.append(column.values)
    if each.custom and not named:
        names.append("Name")
        values.append(ids)
    listed = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" for _ in names)
    sql = f'INSERT INTO "{each.name}" ({listed}) VALUES ({marks})'  # noqa: S608 - names of the schema
    desk.db.executemany(sql, zip(*values, strict=False))


def update_rows(desk: Desk, each: ObjectType, columns: Sequence[Column], ids: Sequence[str]) -> None:
    """Set fields of existing records; a cell left alone leaves its field alone."""
    terms = ['"LastModifiedDate" = ?']
    values: list[Iterable[object]] = [repeat(desk.now)]
    for column in columns:
        name = f'"{column.field.name}"'
        if column.gaps:
            terms.append(f"{name} = CASE WHEN ? THEN {name} ELSE ? END")
            values.append([value is LEAVE for value in column.values])
            values.append([None if value is LEAVE else value for value in column.values])
        else:
            terms.append(f"{name} = ?")
            values.append(column.values)
    sql = f'UPDATE "{each.name}" SET {", ".join(terms)} WHERE "Id" = ?'  # noqa: S608 - names of the schema
    desk.db.executemany(sql, zip(*values, ids, strict=False))


def delete_rows(desk: Desk, each: ObjectType, ids: Sequence[str], *, hard: bool) -> None:
    """Put records into the recycle bin, or remove them permanently."""
    if hard:
        sql = f'DELETE FROM "{each.name}" WHERE "Id" = ?'  # noqa: S608 - names of the schema
        desk.db.executemany(sql, ((record,) for record in ids))
        return
    sql = f'UPDATE "{each.name}" SET "IsDeleted" = 1, "LastModifiedDate" = ? WHERE "Id" = ?'  # noqa: S608 - the same
    desk.db.executemany(sql, ((desk.now, record) for record in ids))
