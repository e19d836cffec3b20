"""What a person does to a state database as a whole: look whether it is valid, and copy it while it is in use."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.exc import SQLAlchemyError

from storage.engine.address import Address, parse_address
from storage.engine.errors import StorageError, from_sqlalchemy
from storage.engine.pool import make_engine, reading
from storage.engine.sqlite_file import back_up, is_there
from storage.schema import SCHEMA, VERSION_TABLE, WRITTEN_BY, Schema

MAX_FAULTS = 20
"""So many faults of one kind are told: a file that is damaged may have thousands, for one reason."""


class CopyRefused(Exception):  # noqa: N818 - an answer for a person, who names another file
    """There is no copy, and why: one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What was found. ``schema`` is None where there is no state yet; ``current`` is this schedctl's schema."""

    kind: str
    name: str
    schema: str | None
    current: str
    written_by: str | None
    faults: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def inspect(url: str, schema: Schema = SCHEMA) -> Inspection:
    """Look into the database, changing nothing, its schema least of all. StorageError if it cannot be looked into.

    Of SQLite every page and index is read, and every reference; PostgreSQL sees to both by itself.
    """
    address = _existing(url)
    engine = make_engine(address)
    try:
        with reading(engine).begin() as connection:
            tables = set(sqlalchemy_inspect(connection).get_table_names())
            found = _value(connection, f"SELECT version_num FROM {VERSION_TABLE}") if VERSION_TABLE in tables else None  # noqa: S608 - a constant
            written_by = (
                _value(connection, "SELECT value FROM setting WHERE key = :key", key=WRITTEN_BY)
                if "setting" in tables
                else None
            )
            faults = _schema_faults(found, written_by, schema)
            if address.kind == "sqlite":
                faults += _file_faults(connection)
    except SQLAlchemyError as error:
        told = from_sqlalchemy(error, name=address.name, password=address.password)
        if not isinstance(told, StorageError) or told.code != "DAMAGED":
            raise told from error
        found, written_by, faults = None, None, [told.message]
    finally:
        engine.dispose()
    return Inspection(
        kind=address.kind,
        name=address.name,
        schema=found,
        current=schema.head,
        written_by=written_by,
        faults=tuple(faults),
    )


def copy_to(url: str, copy: Path) -> int:
    """Copy a SQLite state database, as it was last committed, to the file ``copy``, mode 0600; return its bytes.

    A daemon may go on meanwhile. The copy is whole and was read back, or there is none. CopyRefused if there is
    something at ``copy`` already, if it cannot be written, if the database is damaged, or if it is PostgreSQL's.
    """
    address = _existing(url)
    if address.path is None:
        raise CopyRefused(f"{address.name}: of PostgreSQL pg_dump makes copies, such as pg_dump --format=custom")
    if copy.exists() or copy.is_symlink():
        raise CopyRefused(f"there is something at {copy} already; name another file, or remove it")
    try:
        back_up(address.path, copy)
        with closing(sqlite3.connect(copy)) as connection:
            fault = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if fault != "ok":
            copy.unlink()
            raise CopyRefused(f"{address.name} is damaged, so there is no copy: {' '.join(str(fault).split())}")
        return copy.stat().st_size
    except (OSError, sqlite3.Error) as error:
        copy.with_name(copy.name + ".unfinished").unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CopyRefused(f"{address.name} cannot be copied to {copy}: {reason}") from error


def _existing(url: str) -> Address:
    address = parse_address(url)
    if address.path is not None and not is_there(address.path, address.name):  # SQLite would make it
        raise StorageError("UNREACHABLE", f"there is no state database {address.name} yet; start the daemon")
    return address


def _value(connection: Connection, query: str, **parameters: str) -> str | None:
    found: str | None = connection.execute(text(query), parameters).scalar()
    return found


def _schema_faults(found: str | None, written_by: str | None, schema: Schema) -> list[str]:
    if found is None:
        return ["it holds no state of schedctl"]
    if found == schema.head:
        return []
    if found.isdecimal() and int(found) < int(schema.head):
        advice = "the daemon brings it there when it starts, after a copy of a SQLite file"
        return [f"its schema is {found}, older than {schema.head}: {advice}"]
    return [f"its schema is {found}, newer than {schema.head}: schedctl {written_by or 'of another version'} wrote it"]


def _file_faults(connection: Connection) -> list[str]:
    pages = connection.execute(text(f"PRAGMA integrity_check({MAX_FAULTS})")).scalars()
    faults = [f"integrity: {' '.join(str(line).split())}" for line in pages if line != "ok"]
    broken = connection.execute(text("PRAGMA foreign_key_check")).fetchmany(MAX_FAULTS)
    return faults + [f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there" for row in broken]
