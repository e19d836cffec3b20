"""Any database that SQLAlchemy knows as a source: rows come in pieces, and nothing is committed."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import exc
from sqlalchemy.pool import NullPool

from exporter.failures import configuration, internal
from exporter.rows.rechunk import fetch_batches
from exporter.settings.connection import SqlalchemyConnection
from exporter.sources.shared.result_columns import check_names
from exporter.sources.source import Query
from exporter.sources.sqlalchemy.columns import Column, arrow_batch, arrow_schema, decide
from exporter.sources.sqlalchemy.engines import (
    canceler,
    has_loose_numbers,
    is_mysql,
    make_read_only,
    send_password_in_utf8,
)
from exporter.sources.sqlalchemy.errors import (
    dialect_missing,
    driver_fault,
    driver_missing,
    query_canceled,
    sqlalchemy_fault,
)
from exporter.sql.dialects import dialect_of_url
from exporter.sql.one_select import MYSQL, STANDARD, no_select, one_select
from exporter.sql.parameters import number_parameters

_WRITING_WORDS = frozenset({"INTO"})
"""A SELECT with it makes a table, a file, or a variable."""

_PIECE_ROWS = 500
"""Rows that are asked for at once: each time may cost an answer from the server."""
_MARK = "\0"
"""What no query holds: it stands for a parameter until all other colons are marked as none."""

_Rows = Iterator[Sequence[Sequence[Any]]]


class SqlalchemySource:
    """One database by its SQLAlchemy URL; implements :class:`~exporter.sources.source.Source`, one read at a time.

    A SQLite file whose path is relative is looked up in ``directory``.
    """

    def __init__(self, settings: SqlalchemyConnection, *, directory: Path | None = None) -> None:
        self._settings = settings
        self._directory = directory
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self._canceled = threading.Event()

    @contextmanager
    def read(self, query: Query, *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Run the one SELECT of ``query`` and stream its rows; see the protocol. Parameters are ``$name``."""
        self._canceled.clear()
        engine = self._engine()
        sql = one_select(query.sql, lexis=MYSQL if is_mysql(engine.dialect.name) else STANDARD, refused=_WRITING_WORDS)
        statement, values = _statement(sql, query.parameters, engine.dialect.name)
        with self._connection(engine, sql) as connection:
            self._check_canceled()
            with self._faults(sql):
                result = connection.execute(statement, values, execution_options={"stream_results": True})
            try:
                if not result.returns_rows:
                    raise no_select(sql, dialect=dialect_of_url(f"{engine.dialect.name}:"))
                names = list(result.keys())
                check_names(names)
                rows = self._fetched(result, sql, batch_rows)
                first = next(rows, [])
                columns = decide(names, first, loose_numbers=has_loose_numbers(engine.dialect.name))
                schema = arrow_schema(columns)
                batches = self._batches(chain([first] if first else [], rows), columns, schema)
                yield pa.RecordBatchReader.from_batches(schema, batches)
            finally:
                self._leave(result, engine.dialect.name)

    def cancel(self) -> None:
        """Stop a query that another thread is reading; it raises ``QUERY_CANCELED`` there."""
        with self._lock:
            self._canceled.set()
            stop = self._stop
        if stop is not None:
            with suppress(Exception):  # whatever the driver raises: it is over, or the reader finds out by itself
                stop()

    def check(self) -> None:
        """Raise if the database cannot be reached with these settings."""
        self._canceled.clear()
        with self._connection(self._engine(), "") as connection, self._faults(""):
            connection.execute(sa.select(1)).all()

    def _fetched(self, result: "sa.CursorResult[Any]", sql: str, size: int) -> _Rows:
        def fetch(count: int) -> Sequence[Sequence[Any]]:
            self._check_canceled()
            with self._faults(sql):
                return result.fetchmany(count)

        return fetch_batches(fetch, list, rows=size, piece_rows=_PIECE_ROWS)

    def _batches(
        self, pieces: Iterator[Sequence[Sequence[Any]]], columns: Sequence[Column], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        for piece in pieces:
            self._check_canceled()
            yield arrow_batch(piece, columns, schema)
            self._check_canceled()
        self._check_canceled()

    def _check_canceled(self) -> None:
        if self._canceled.is_set():
            raise query_canceled()

    def _leave(self, result: "sa.CursorResult[Any]", dialect: str) -> None:
        """Give up what is left of a result; the drivers of MySQL would first read it to its end."""
        if is_mysql(dialect) and result.returns_rows and not result.closed and self._stop is not None:
            with suppress(Exception):
                self._stop()
        with suppress(Exception):  # whatever the driver raises: the connection is closed next
            result.close()

    def _engine(self) -> sa.Engine:
        """Return an engine that keeps no connection. Raises configuration ``URL`` and ``DRIVER_MISSING``."""
        try:
            url = sa.make_url(_revealed(self._settings.url))
            engine = sa.create_engine(self._placed(url), poolclass=NullPool, hide_parameters=True)
        except ModuleNotFoundError as error:
            raise driver_missing(error) from error
        except exc.NoSuchModuleError as error:
            raise dialect_missing(url.drivername) from error
        except (exc.ArgumentError, TypeError, ValueError) as error:
            raise configuration(
                "URL", "url: it is not of the form dialect+driver://user:password@host/database"
            ) from error
        if engine.dialect.is_async:
            raise configuration("URL", f"url: {url.drivername} is made for asyncio: name a driver that is not")
        send_password_in_utf8(engine)
        return engine

    def _placed(self, url: sa.URL) -> sa.URL:
        """Find a SQLite file where the config file is. Raises configuration ``NO_DATABASE_FILE`` if it is not there."""
        if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":", "file:")):
            return url
        path = (self._directory or Path()) / url.database
        if not path.is_file():  # it would be made
            raise configuration("NO_DATABASE_FILE", f"There is no database file {path}: correct the path")
        return url.set(database=str(path))

    @contextmanager
    def _connection(self, engine: sa.Engine, sql: str) -> Iterator[sa.Connection]:
        with self._faults(sql):
            connection = engine.connect()
        try:
            with self._faults(sql):
                make_read_only(connection)
                stop = canceler(engine, connection)
            with self._lock:
                self._stop = stop
            yield connection
        finally:
            with self._lock:
                self._stop = None
            with suppress(Exception):  # a connection that has failed cannot roll back, and is closed all the same
                connection.close()

    @contextmanager
    def _faults(self, sql: str) -> Iterator[None]:
        try:
            yield
        except exc.SQLAlchemyError as error:
            raise (query_canceled() if self._canceled.is_set() else sqlalchemy_fault(error, sql)) from error
        except Exception as error:
            # Some errors of drivers are raised while rows are read, where SQLAlchemy lets them pass.
            if not _is_of_a_driver(error):
                raise
            raise (query_canceled() if self._canceled.is_set() else driver_fault(error, sql)) from error


def _is_of_a_driver(error: Exception) -> bool:
    """Whether an error is one of those that PEP 249 names, whatever module it is of."""
    return any(each.__name__ in ("Error", "Warning") for each in type(error).__mro__)


def _statement(sql: str, given: Mapping[str, object], dialect: str) -> tuple[sa.TextClause, dict[str, object]]:
    """Return the SQL with each ``$name`` as a bound parameter; no other colon means one to SQLAlchemy."""
    if _MARK in sql:
        raise configuration("QUERY_REFUSED", "The query holds a NUL character: remove it")
    marked, values = number_parameters(
        sql, given, write=lambda number: f" {_MARK}{number} ", dialect=dialect_of_url(f"{dialect}:")
    )
    written = marked.replace(":", "\\:").replace(_MARK, ":schedctl_")
    named = {f"schedctl_{number}": _value(value, dialect) for number, value in enumerate(values, start=1)}
    return sa.text(written), named


def _value(value: object, dialect: str) -> object:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC)
        # SQLite compares times as texts, of the form that its own functions write.
        return f"{moment:%Y-%m-%d %H:%M:%S}" if dialect == "sqlite" else moment
    return value


def _revealed(secret: object) -> str:
    if not isinstance(secret, SecretStr):
        raise internal("SECRET_UNRESOLVED", "a secret of the connection is a reference that nobody has looked up")
    return secret.get_secret_value()
