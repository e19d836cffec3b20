"""The org's state in one SQLite file, which a person may open and read at any time.

Promised: what was answered with success survives the end of this process, however it ends (each answer follows a commit
into the operating system's cache). A crash of the machine may lose the last moments: nothing is forced to the disk.
"""

import errno
import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

from exporter.emulator.org.schema import FOLD, NUMBER_TYPES, USER, Field, ObjectType, OrgSchema
from exporter.rows.key_forms import fold

_TABLES = """
CREATE TABLE IF NOT EXISTS sys_sequence (name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sys_session (
    token TEXT PRIMARY KEY, user TEXT NOT NULL, kind TEXT NOT NULL, used_at REAL NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sys_job (
    id TEXT PRIMARY KEY, api TEXT NOT NULL, operation TEXT NOT NULL, object TEXT NOT NULL, external_id TEXT,
    concurrency TEXT NOT NULL, content TEXT NOT NULL, version TEXT NOT NULL, state TEXT NOT NULL, message TEXT,
    created REAL NOT NULL, modified REAL NOT NULL, settings TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sys_batch (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, job TEXT NOT NULL REFERENCES sys_job(id), state TEXT NOT NULL,
    kind TEXT NOT NULL, message TEXT, created REAL NOT NULL, modified REAL NOT NULL, rows INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, millis INTEGER NOT NULL DEFAULT 0, request BLOB, result BLOB
);
CREATE TABLE IF NOT EXISTS sys_piece (
    batch INTEGER NOT NULL, number INTEGER NOT NULL, rows INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (batch, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sys_batch_job ON sys_batch (job);
CREATE INDEX IF NOT EXISTS sys_batch_created ON sys_batch (created);
CREATE INDEX IF NOT EXISTS sys_batch_waiting ON sys_batch (number) WHERE state = 'Queued';
"""


class StateInUseError(OSError):
    """The state file belongs to an emulator that is running."""


class Store:
    """One writer at a time, readers beside it. Every method may be called from any thread."""

    def __init__(self, path: Path, schema: OrgSchema, user: str) -> None:
        """Open the file, or make it, and bring its tables up to the schema. Raises StateInUseError, sqlite3.Error.

        Columns that the schema no longer has stay in the file, unseen.
        """
        self.path = path
        self._lock = _lock_beside(path)
        try:
            self._writer = self._connect()
            self._writer.executescript(_TABLES)
            for each in schema.objects.values():
                _make_table(self._writer, each, user)
        except BaseException:
            os.close(self._lock)
            raise
        self._writing = threading.RLock()
        self._readers: SimpleQueue[sqlite3.Connection] = SimpleQueue()

    def own_seed(self) -> int:
        """Return a random number that was chosen when this was first asked of the file."""
        with self.writing() as writer:
            (seed,) = writer.execute("PRAGMA user_version").fetchone()
            if not seed:
                seed = 1 + secrets.randbelow(2**30)
                writer.execute(f"PRAGMA user_version = {seed}")
        return int(seed)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the writer in a transaction that ends with the block: committed, or undone if the block raises."""
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.rollback()
                raise
            self._writer.commit()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one state of the org until the block ends."""
        try:
            reader = self._readers.get_nowait()
        except Empty:
            reader = self._connect()
        reader.execute("BEGIN")
        try:
            yield reader
        finally:
            reader.rollback()
            self._readers.put(reader)

    def close(self) -> None:
        """Close all connections; nobody may be using one."""
        while not self._readers.empty():
            self._readers.get_nowait().close()
        with self._writing:
            self._writer.close()
        os.close(self._lock)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.row_factory = sqlite3.Row
        connection.create_function(FOLD, 1, _fold, deterministic=True)
        connection.executescript(
            "PRAGMA journal_mode = WAL; "
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;"
        )
        return connection


def _fold(value: str | float | None) -> str | float | None:
    return fold(value) if isinstance(value, str) else value


def _lock_beside(path: Path) -> int:
    """Take the lock that keeps a second emulator off; the system gives it back however this process ends."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StateInUseError(f"{path} is in use by another emulator") from error
    return descriptor


def next_number(db: sqlite3.Connection, name: str, count: int = 1) -> int:
    """Take ``count`` numbers, from 1, of a sequence and return the first of them."""
    sql = (
        "INSERT INTO sys_sequence (name, last) VALUES (?1, ?2) "
        "ON CONFLICT (name) DO UPDATE SET last = last + ?2 RETURNING last"
    )
    last: int = db.execute(sql, (name, count)).fetchone()["last"]
    return last - count + 1


def _make_table(db: sqlite3.Connection, each: ObjectType, user: str) -> None:
    """Make or widen the table of an object: a column per field, named as the API names it."""
    present = {row["name"].lower() for row in db.execute(f'PRAGMA table_xinfo("{each.name}")')}
    stored = [field for field in each.fields.values() if field.formula is None]
    computed = [field for field in each.fields.values() if field.formula is not None]
    if not present:
        columns = ", ".join(_column(field, user) for field in stored)
        db.execute(f'CREATE TABLE "{each.name}" ({columns}) WITHOUT ROWID')
        present = {field.name.lower() for field in stored}
    for field in (*stored, *computed):
        if field.name.lower() not in present:
            db.execute(f'ALTER TABLE "{each.name}" ADD COLUMN {_column(field, user)}')
    for field in stored:
        if (field.is_key or field.unique) and field.name != "Id":
            name = f"{each.name}_{field.name}"
            db.execute(
                f'CREATE INDEX IF NOT EXISTS "{name}" ON "{each.name}" ("{field.name}") WHERE "IsDeleted" = 0'
            )  # fmt: skip


def _column(field: Field, user: str) -> str:
    name = f'"{field.name}"'
    if field.name == "Id":
        return f"{name} TEXT PRIMARY KEY"
    if field.formula is not None:
        formula = field.formula.replace(USER, f"'{user}'")
        return f"{name} TEXT GENERATED ALWAYS AS ({formula}) VIRTUAL"
    if field.type == "boolean":
        return f"{name} INTEGER NOT NULL DEFAULT {int(bool(field.default))}"
    if field.type in NUMBER_TYPES:
        kind = "NUMERIC"
    elif field.type in {"reference", "date", "datetime", "time"} or field.case_sensitive:
        kind = "TEXT"
    else:
        kind = "TEXT COLLATE NOCASE"
    default = user if field.default == USER else field.default
    if default is None:
        return f"{name} {kind}"
    text = str(default).replace("'", "''")
    return f"{name} {kind} DEFAULT '{text}'"
