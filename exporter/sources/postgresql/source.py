"""PostgreSQL as a source, over psycopg: rows come in chunks as the server makes them, in a read-only transaction."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

import psycopg
import pyarrow as pa
from pydantic import SecretStr

from exporter.failures import ExportError, internal
from exporter.rows.rechunk import fetch_batches
from exporter.settings.databases import PostgresqlConnection
from exporter.sources.postgresql.address import check_url
from exporter.sources.postgresql.columns import arrow_batch, arrow_schema, describe, keep_text
from exporter.sources.postgresql.errors import postgresql_fault, query_canceled
from exporter.sources.shared.result_columns import check_names
from exporter.sources.source import Query
from exporter.sql.one_select import no_select
from exporter.sql.parameters import number_parameters

_CONNECT_SECONDS = 30
_CANCEL_SECONDS = 10.0
_CHUNK = 8
"""Rows that the driver holds at once, beside the batch that is made of them, however wide they are. Measured: as quick
as 500; one at a time takes twice as long."""


class PostgresqlSource:
    """One PostgreSQL database; implements :class:`~exporter.sources.source.Source`, one read at a time."""

    def __init__(self, settings: PostgresqlConnection) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._open: psycopg.Connection[Any] | None = None
        self._canceled = threading.Event()

    @contextmanager
    def read(self, query: Query, *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Run the one SELECT of ``query`` and stream its rows; see the protocol. Parameters are ``$name``."""
        self._canceled.clear()
        sql, values = number_parameters(
            query.sql, query.parameters, write=lambda number: f"${number}", dialect="postgres"
        )
        with self._connection() as connection:
            cursor = psycopg.RawCursor(connection)
            with closing(cursor), self._faults():
                columns = describe(connection, sql, values)
                if not columns:
                    raise no_select(sql, dialect="postgres")
                check_names(column.name for column in columns)
                schema = arrow_schema(connection, columns)
                rows = cursor.stream(sql, values or None, size=_CHUNK)
                first = list(islice(rows, 1))
                try:
                    yield pa.RecordBatchReader.from_batches(schema, self._batches(rows, first, schema, batch_rows))
                finally:
                    connection.close()  # the quickest end of a result that nobody wants any more

    def cancel(self) -> None:
        """Stop a query that another thread is reading; it raises ``QUERY_CANCELED`` there."""
        with self._lock:
            self._canceled.set()
            connection = self._open
        if connection is not None:
            try:
                connection.cancel_safe(timeout=_CANCEL_SECONDS)
            except psycopg.Error:  # it is over, or the server is gone: then the reader finds that out by itself
                return

    def check(self) -> None:
        """Raise if the database cannot be reached with these settings."""
        with self._connection() as connection, self._faults():
            connection.execute("select 1").fetchall()

    def _batches(
        self, rows: Iterator[tuple[Any, ...]], first: list[tuple[Any, ...]], schema: pa.Schema, size: int
    ) -> Iterator[pa.RecordBatch]:
        def fetch(count: int) -> Sequence[tuple[Any, ...]]:
            self._check_canceled()
            with self._faults():
                return list(islice(rows, count))

        yield from fetch_batches(fetch, lambda some: arrow_batch(some, schema), rows=size, first=first)

    def _check_canceled(self) -> None:
        if self._canceled.is_set():
            raise query_canceled()

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        with self._faults():
            connection = psycopg.connect(**_address(self._settings))
        try:
            with self._faults():
                connection.read_only = True
                keep_text(connection)
            with self._lock:
                self._open = connection
            yield connection
        finally:
            with self._lock:
                self._open = None
            connection.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self._fault(error) from error

    def _fault(self, error: psycopg.Error) -> ExportError:
        fault = postgresql_fault(error)
        return query_canceled() if self._canceled.is_set() and fault.code == "CONNECTION_LOST" else fault


def _address(settings: PostgresqlConnection) -> dict[str, Any]:
    """Return what psycopg connects with; what the role's defaults might change is set here.

    Times are UTC, everything is read only, and a backslash in a string is a letter, as where parameters are looked for.
    """
    url = _revealed(settings.url) or ""
    check_url(url)
    parts: dict[str, Any] = {
        "conninfo": url,
        "connect_timeout": _CONNECT_SECONDS,
        "options": "-c TimeZone=UTC -c default_transaction_read_only=on -c standard_conforming_strings=on",
        "application_name": "schedctl",
        "client_encoding": "UTF8",
    }
    named = {
        "host": settings.host,
        "port": settings.port,
        "dbname": settings.database,
        "user": settings.user,
        "password": _revealed(settings.password),
    }
    return parts | {name: value for name, value in named.items() if value is not None}


def _revealed(secret: object) -> str | None:
    if secret is None:
        return None
    if not isinstance(secret, SecretStr):
        raise internal("SECRET_UNRESOLVED", "a secret of the connection is a reference that nobody has looked up")
    return secret.get_secret_value()
