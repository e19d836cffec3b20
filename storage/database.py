"""The door to the state database: open it, read in it, write in it. Every error that leaves is a StorageError."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from storage.engine.address import Address, parse_address, sqlite_url
from storage.engine.errors import ClaimLost, StorageError, from_sqlalchemy
from storage.engine.pool import PATIENCE, make_engine, reading, writing
from storage.engine.sqlite_file import identity, is_there, make_file, turn, use_wal
from storage.schema import SCHEMA, Schema, bring_up_to_date

__all__ = ["ClaimLost", "Database", "Session", "StorageError", "open_database", "sqlite_url"]


class Database:
    """An open state database at the current schema. May be shared by threads; each transaction has its connection.

    ``kind`` is ``sqlite`` or ``postgresql``; ``name`` is the URL without its password; ``path`` is SQLite's file.
    """

    def __init__(self, address: Address) -> None:
        """Prepare the pool; :func:`open_database` sees to the schema."""
        self.kind = address.kind
        self.name = address.name
        self.path = address.path
        self._password = address.password
        self._identity = identity(address.path) if address.path else None
        self._engine = make_engine(address)
        self._writing = writing(self._engine)
        self._reading = reading(self._engine)
        # SQLite has one writer and lets the others poll; threads of one process queue here instead, in order.
        self._writer = threading.Lock() if address.kind == "sqlite" else None

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session in one transaction: committed at the end of the block, rolled back on any exception.

        On SQLite it holds the write lock from the start. Do nothing slow inside, and never nest it.
        """
        self._check_file()
        with self._turn(), self._translated(), Session(self._writing) as session, session.begin():
            session.info["writes"] = True
            session.connection()
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees committed rows, on SQLite all as of one instant; writing in it is an error."""
        self._check_file()
        with self._translated(), Session(self._reading) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close the connections that are not in use; the last one to leave a SQLite file folds its WAL into it."""
        self._engine.dispose()

    def bring_up_to_date(self, address: Address, schema: Schema, *, migrate: bool) -> None:
        """See to the schema, as :func:`open_database` does."""
        with self._translated(), turn(self.path, self.name) if self.path else nullcontext():
            if self.path is not None:
                use_wal(self._engine, self.name)
            bring_up_to_date(self._engine, address, schema, migrate=migrate)

    def _check_file(self) -> None:
        # SQLite would go on in the deleted file, which is gone with this process.
        if self.path is not None and identity(self.path) != self._identity:
            message = f"the state database {self.name} was moved, deleted or replaced while in use; restart schedctl"
            raise StorageError("GONE", message)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._writer is None:
            yield
            return
        if not self._writer.acquire(timeout=PATIENCE):
            message = f"the state database {self.name}: another thread has been writing for {PATIENCE} s; try again"
            raise StorageError("BUSY", message)
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise from_sqlalchemy(error, name=self.name, password=self._password) from error


def open_database(url: str, *, migrate: bool = True, schema: Schema = SCHEMA) -> Database:
    """Open the state database at ``url`` and bring its schema up to date; StorageError says what stands in the way.

    ``url`` is ``sqlite:///PATH`` (percent-encoded, see :func:`sqlite_url`) or
    ``postgresql+psycopg://user@host/database``. A missing SQLite file is made, private to its owner. An older
    database is migrated in one transaction, a SQLite file after a copy of it. Without ``migrate`` nothing is made or
    changed: what is not there yet, or is not at the current schema, is refused.
    """
    address = parse_address(url)
    if address.path is not None:
        if migrate:
            make_file(address.path, address.name)
        elif not is_there(address.path, address.name):
            raise StorageError("UNREACHABLE", f"there is no state database {address.name} yet; start the daemon")
    database = Database(address)
    try:
        database.bring_up_to_date(address, schema, migrate=migrate)
    except BaseException:
        database.close()
        raise
    return database
