"""The few statements that both databases know in nearly the same words, and what they mean by a lock."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ARRAY, Column, ColumnElement, Table, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import Insert as InsertPostgresql
from sqlalchemy.dialects.sqlite import Insert as InsertSqlite
from sqlalchemy.orm import Session

CHUNK = 500
"""Values in one IN list: far below what either database takes in one statement."""

_TRY_LOCKS = text("SELECT key FROM unnest(CAST(:keys AS bigint[])) AS key WHERE pg_try_advisory_xact_lock(key)")

_T = TypeVar("_T")


def insert_into(session: Session, target: Table) -> InsertPostgresql | InsertSqlite:
    """Begin an INSERT that may say what happens on a conflict."""
    return InsertPostgresql(target) if is_postgresql(session) else InsertSqlite(target)


def insert_new(
    session: Session, target: Table, rows: Sequence[Mapping[str, Any]], returning: Sequence[ColumnElement[Any]]
) -> list[tuple[Any, ...]]:
    """Insert those rows (all of the same columns) that are not there yet, and return something of each that was new.

    PostgreSQL gets one array for each column: psycopg would take most of the time to look through a statement with
    some thousand parameters.
    """
    if not rows:
        return []
    if not is_postgresql(session):
        insert = InsertSqlite(target).on_conflict_do_nothing().returning(*returning)
        return [tuple(row) for row in session.execute(insert, rows)]
    columns = [target.c[name] for name in rows[0]]
    arrays = [bindparam(None, [row[column.name] for row in rows], type_=ARRAY(column.type)) for column in columns]
    named = (Column(column.name, column.type) for column in columns)
    source = func.unnest(*arrays).table_valued(*named).render_derived(name="new")
    statement = InsertPostgresql(target).from_select(columns, select(*source.c))
    return [tuple(row) for row in session.execute(statement.on_conflict_do_nothing().returning(*returning))]


def is_postgresql(session: Session) -> bool:
    """Tell which of the two databases this is."""
    return session.get_bind().dialect.name == "postgresql"


def one_snapshot(session: Session) -> None:
    """Let every statement of a read see the same instant, as on SQLite they do anyway. To be called first of all."""
    if is_postgresql(session):
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def chunks(values: Iterable[_T]) -> Iterator[Sequence[_T]]:
    """Cut values into lists of at most :data:`CHUNK`."""
    rest = iter(values)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def lock_names(session: Session, names: Iterable[str]) -> None:
    """Keep other transactions that lock one of these names out until this one ends. SQLite has but one writer."""
    if is_postgresql(session):
        for key in sorted({_key(name) for name in names}):
            session.execute(select(func.pg_advisory_xact_lock(key)))


def try_lock_names(session: Session, names: Iterable[str]) -> set[str]:
    """Lock, as :func:`lock_names` does, those names that nobody else holds, and return them; waits for nobody."""
    wanted = set(names)
    if not wanted or not is_postgresql(session):
        return wanted
    keys = {_key(name): name for name in wanted}
    locked = session.execute(_TRY_LOCKS, {"keys": list(keys)}).scalars()
    return {keys[key] for key in locked}


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
