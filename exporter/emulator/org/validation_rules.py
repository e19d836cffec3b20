"""What a row has to keep to beyond the form of its values: rights, required fields, parents, uniqueness."""

from collections.abc import Mapping, Sequence

from exporter.emulator.org.field_values import LEAVE, Column, Errors
from exporter.emulator.org.finding import Desk, find_by, fold_all, missing_parents
from exporter.emulator.org.schema import Field, ObjectType

_SHORT = 15


def check_rows(
    desk: Desk,
    each: ObjectType,
    columns: Sequence[Column],
    ids: Mapping[int, str],
    errors: Errors,
    *,
    creating: bool,
    found: Field | None = None,
) -> None:
    """Add to ``errors`` which of these rows cannot be. ``ids`` has the rows, with the Ids they have or will have.

    That no record has the rows' values of ``found``, and that no two of them share one, is known already.
    """
    _check_rights(columns, ids, errors, creating=creating)
    _check_required(each, columns, ids, errors, creating=creating)
    for column in columns:
        if column.field.type == "reference":
            _check_parents(desk, column, ids, errors)
    for column in columns:
        if column.field.unique and column.field is not found:
            _check_unique(desk, each, column, ids, errors)


def _check_rights(columns: Sequence[Column], ids: Mapping[int, str], errors: Errors, *, creating: bool) -> None:
    """Refuse rows that set what cannot be set: they only, for a cell left empty asks for nothing."""
    locked = [each for each in columns if not (each.field.createable if creating else each.field.updateable)]
    for row in ids if locked else ():
        names = [column.field.name for column in locked if column.values[row] is not LEAVE]
        if names:
            message = (
                f"Unable to create/update fields: {', '.join(names)}. Please check the security settings of this "
                "field and verify that it is read/write for your profile or permission set."
            )
            errors.add(row, "INVALID_FIELD_FOR_INSERT_UPDATE", message, *names)


def _check_required(
    each: ObjectType, columns: Sequence[Column], ids: Mapping[int, str], errors: Errors, *, creating: bool
) -> None:
    given = {column.field.name: column for column in columns}
    missing: dict[int, list[str]] = {}
    for field in each.fields.values():
        if not field.required or not (field.createable or field.updateable):
            continue
        column = given.get(field.name)
        for row in _rows_without(field, column, ids, creating=creating):
            missing.setdefault(row, []).append(field.name)
    for row, names in missing.items():
        errors.add(row, "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(names)}]", *names)


def _rows_without(
    field: Field, column: Column | None, ids: Mapping[int, str], *, creating: bool
) -> Sequence[int]:  # fmt: skip
    """Return the rows that would leave a required field empty."""
    if column is None:
        return list(ids) if creating and not field.has_default else ()
    values = column.values
    if None not in values and (not column.gaps or not creating or field.has_default):
        return ()
    empties = {None} if not creating or field.has_default else {None, LEAVE}
    return [row for row in ids if values[row] in empties]


def _check_parents(desk: Desk, column: Column, ids: Mapping[int, str], errors: Errors) -> None:
    given = {row: value for row in ids if row not in errors and isinstance(value := column.values[row], str)}
    missing = missing_parents(desk, column.field, sorted(set(given.values())))
    for row, parent in given.items() if missing else ():
        if parent in missing:
            errors.add(row, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", column.field.name)


def _check_unique(desk: Desk, each: ObjectType, column: Column, ids: Mapping[int, str], errors: Errors) -> None:
    """Refuse values that another record has, or an earlier row of these."""
    field = column.field
    values = column.values
    open_rows = [row for row in ids if row not in errors and values[row] is not None and values[row] is not LEAVE]
    taken: dict[object, str] = {}
    mine = set(ids.values())
    for key, owners in find_by(desk.db, each, field, (values[row] for row in open_rows)).items():
        others = [owner for owner in owners if owner not in mine]
        taken[key] = (others or owners)[0]
    for row, value in zip(open_rows, fold_all(field, [values[row] for row in open_rows]), strict=True):
        owner = taken.setdefault(value, ids[row])
        if owner != ids[row]:
            message = f"duplicate value found: {field.name} duplicates value on record with id: {owner[:_SHORT]}"
            errors.add(row, "DUPLICATE_VALUE", message)
