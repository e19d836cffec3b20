"""Insert, update, upsert and delete: the rows of a batch into the org, each accepted or refused with its reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from exporter.emulator.org.field_values import LEAVE, Column, Errors
from exporter.emulator.org.finding import Desk, find_by, find_ids, fold, fold_all
from exporter.emulator.org.ids import make_ids
from exporter.emulator.org.record_table import BatchError, Table
from exporter.emulator.org.relationship_binding import bind_header, read_columns
from exporter.emulator.org.schema import Field, ObjectType
from exporter.emulator.org.store import next_number
from exporter.emulator.org.validation_rules import check_rows
from exporter.emulator.org.write_statements import delete_rows, insert_rows, update_rows

CHUNK = 200
"""Records that Salesforce processes together: only within them it sees two rows of one key at the same time."""
MAX_REPEATS = 12
"""How often one record may be updated within a chunk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """What a batch does: one of insert, update, upsert, delete and hardDelete; ``key`` is the upsert's."""

    object: ObjectType
    operation: str
    key: Field | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of each row; its Id is empty where it was refused."""

    ids: list[str]
    created: list[bool]
    errors: Errors = field(default_factory=Errors)


def write(desk: Desk, order: Instruction, table: Table, locked: Errors | None = None) -> Outcome:
    """Carry out a batch within the desk's transaction. ``locked`` names rows to refuse as if others held their record.

    Raises BatchError if nothing of it can be processed.
    """
    outcome = Outcome(ids=[""] * table.rows, created=[False] * table.rows)
    outcome.errors.update(locked or {})
    bound = bind_header(desk.schema, order.object, table.header)
    columns = read_columns(desk, bound, table, outcome.errors)
    key = order.key or order.object.fields["id"]
    keys = next((column for column in columns if column.field.name == key.name), None)
    if key.type != "id" or order.operation == "insert":
        _refuse_ids(columns, outcome.errors, order.operation)
        columns = [column for column in columns if column.field.name != "Id"]
    if order.operation == "insert":
        _insert(desk, order.object, columns, _open_rows(range(table.rows), outcome), outcome)
        return outcome
    if keys is None:
        raise BatchError(f"InvalidBatch : Field name not found : {key.name}")
    if order.operation in {"delete", "hardDelete"} and len(columns) > 1:
        raise BatchError(f"InvalidBatch : {order.operation} takes no field but Id")
    for rows in _chunks(keys, table.rows):
        _process(desk, order, _Part(keys=keys, columns=columns, rows=rows), outcome)
    return outcome


def _refuse_ids(columns: Sequence[Column], errors: Errors, operation: str) -> None:
    code, message = "INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call"
    if operation == "upsert":
        code, message = "INVALID_FIELD", "cannot specify both an external ID reference and a salesforce id"
    for column in columns:
        if column.field.name == "Id":
            for row, value in enumerate(column.values):
                if value is not LEAVE and value is not None:
                    errors.add(row, code, message, "Id")


def _open_rows(rows: Sequence[int], outcome: Outcome) -> list[int]:
    return [row for row in rows if row not in outcome.errors] if outcome.errors else list(rows)


def _chunks(keys: Column, rows: int) -> Iterator[range]:
    """Yield all rows at once if each key comes once; else as many as Salesforce takes at a time."""
    folded = fold_all(keys.field, keys.values)
    if len(set(folded)) == len(folded):
        yield range(rows)
        return
    for start in range(0, rows, CHUNK):
        yield range(start, min(start + CHUNK, rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """The rows that Salesforce sees at the same time."""

    keys: Column
    columns: list[Column]
    rows: range


def _process(desk: Desk, order: Instruction, part: _Part, outcome: Outcome) -> None:
    keys, rows = part.keys, part.rows
    others = [column for column in part.columns if column is not keys]
    by_id = keys.field.type == "id"
    if order.operation == "upsert":
        if not by_id and len(rows) <= CHUNK:
            _refuse_shared(keys, rows, outcome.errors)
        targets = _find_targets(desk, order.object, keys, rows, outcome)
        new = [row for row in _open_rows(rows, outcome) if row not in targets]
        if new:
            _insert(desk, order.object, others if by_id else part.columns, new, outcome, found=order.key)
        _update(desk, order.object, others, targets, outcome)
        return
    targets = _find_targets(desk, order.object, keys, rows, outcome, needed=True)
    if order.operation == "update":
        _refuse_repeats(targets, outcome.errors)
        _update(desk, order.object, others, targets, outcome)
    else:
        _delete(desk, order.object, targets, outcome, hard=order.operation == "hardDelete")


def _refuse_shared(keys: Column, rows: range, errors: Errors) -> None:
    """Refuse all rows of a chunk that share an external id: nothing says which one is meant."""
    seen: dict[object, list[int]] = {}
    for row in rows:
        value = keys.values[row]
        if value is not LEAVE and value is not None and row not in errors:
            seen.setdefault(fold(keys.field, value), []).append(row)
    for group in seen.values():
        if len(group) > 1:
            for row in group:
                message = f"Duplicate external id specified: {keys.values[row]}"
                errors.add(row, "DUPLICATE_VALUE", message, keys.field.name)


def _refuse_repeats(targets: dict[int, str], errors: Errors) -> None:
    counts: dict[str, int] = {}
    for row, target in list(targets.items()):
        counts[target] = counts.get(target, 0) + 1
        if counts[target] > MAX_REPEATS:
            message = (
                f"Maximum number of duplicate updates in one batch ({MAX_REPEATS} allowed). "
                f"Attempt to update Id more than once in this Api call: {target}"
            )
            errors.add(row, "DUPLICATE_VALUE", message)
            del targets[row]


def _find_targets(
    desk: Desk, each: ObjectType, keys: Column, rows: range, outcome: Outcome, *, needed: bool = False
) -> dict[int, str]:
    """Return the Id of the record that each row is for; a row without one is new, or refused if it ``needed`` one."""
    if keys.field.type == "id":
        return _find_by_id(desk, each, keys, rows, outcome, needed=needed)
    targets: dict[int, str] = {}
    for row in _open_rows(rows, outcome):
        if keys.values[row] is LEAVE or keys.values[row] is None:
            outcome.errors.add(row, "MISSING_ARGUMENT", f"{keys.field.name} not specified")
    wanted = _open_rows(rows, outcome)
    values = [keys.values[row] for row in wanted]
    found = find_by(desk.db, each, keys.field, values)
    for row, value in zip(wanted, fold_all(keys.field, values), strict=True) if found else ():
        ids = found.get(value, ())
        if len(ids) > 1:
            message = f"{keys.field.name}: more than one record found for external id field: [{', '.join(ids)}]"
            outcome.errors.add(row, "DUPLICATE_EXTERNAL_ID", message, keys.field.name)
        elif ids:
            targets[row] = ids[0]
    return targets


def _find_by_id(
    desk: Desk, each: ObjectType, keys: Column, rows: range, outcome: Outcome, *, needed: bool
) -> dict[int, str]:  # fmt: skip
    targets: dict[int, str] = {}
    given = {row: value for row in _open_rows(rows, outcome) if isinstance(value := keys.values[row], str)}
    known = find_ids(desk.db, each, set(given.values()))
    for row in _open_rows(rows, outcome):
        target = given.get(row)
        if target is None:
            if needed:
                outcome.errors.add(row, "MISSING_ARGUMENT", "Id not specified")
        elif target[:3] != each.prefix:
            outcome.errors.add(row, "MALFORMED_ID", f"Record ID: id value of incorrect type: {target}", "Id")
        elif target not in known:
            outcome.errors.add(row, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        elif known[target]:
            outcome.errors.add(row, "ENTITY_IS_DELETED", "entity is deleted")
        else:
            targets[row] = target
    return targets


def _insert(
    desk: Desk,
    each: ObjectType,
    columns: list[Column],
    rows: list[int],
    outcome: Outcome,
    *,
    found: Field | None = None,
) -> None:
    """Insert rows; that no record has them by the key ``found`` is known already."""
    if not each.createable:
        _refuse_all(rows, outcome, f"entity type {each.name} does not support create")
        return
    ids = dict(zip(rows, make_ids(each.prefix, next_number(desk.db, each.name, len(rows)), len(rows)), strict=True))
    check_rows(desk, each, columns, ids, outcome.errors, creating=True, found=found)
    accepted = _open_rows(rows, outcome)
    chosen = columns if len(accepted) == len(outcome.ids) else [column.pick(accepted) for column in columns]
    insert_rows(desk, each, [_filled(desk, column) for column in chosen], [ids[row] for row in accepted])
    for row in accepted:
        outcome.ids[row] = ids[row]
        outcome.created[row] = True


def _filled(desk: Desk, column: Column) -> Column:
    """Put the field's default where a new record's row brings nothing."""
    if not column.gaps:
        return column
    default = desk.user if column.field.default == "{user}" else column.field.default
    return replace(column, values=[default if value is LEAVE else value for value in column.values], gaps=False)


def _update(desk: Desk, each: ObjectType, columns: list[Column], targets: dict[int, str], outcome: Outcome) -> None:
    if not each.updateable:
        _refuse_all(list(targets), outcome, f"entity type {each.name} does not support update")
        return
    check_rows(desk, each, columns, targets, outcome.errors, creating=False)
    accepted = _open_rows(list(targets), outcome)
    if accepted:
        update_rows(desk, each, [column.pick(accepted) for column in columns], [targets[row] for row in accepted])
    for row in accepted:
        outcome.ids[row] = targets[row]


def _delete(desk: Desk, each: ObjectType, targets: dict[int, str], outcome: Outcome, *, hard: bool) -> None:
    if not each.deletable:
        _refuse_all(list(targets), outcome, f"entity type {each.name} does not support delete")
        return
    gone: set[str] = set()
    for row, target in targets.items():
        if target in gone:
            outcome.errors.add(row, "ENTITY_IS_DELETED", "entity is deleted")
        else:
            gone.add(target)
            outcome.ids[row] = target
    delete_rows(desk, each, sorted(gone), hard=hard)


def _refuse_all(rows: Sequence[int], outcome: Outcome, message: str) -> None:
    for row in rows:
        outcome.errors.add(row, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message)
