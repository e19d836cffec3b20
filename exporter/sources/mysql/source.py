"""MySQL and MariaDB as a source, over PyMySQL: rows come as the server makes them, in a read-only transaction."""

import math
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime

import pyarrow as pa
import pymysql
from pymysql.connections import Connection
from pymysql.converters import escape_string
from pymysql.cursors import SSCursor

from exporter.failures import ExportError, configuration, internal
from exporter.rows.rechunk import fetch_batches
from exporter.settings.connection import MysqlConnection
from exporter.sources.mysql.address import driver_arguments
from exporter.sources.mysql.columns import ServerColumn, arrow_batch, arrow_schema
from exporter.sources.mysql.errors import mysql_fault, query_canceled
from exporter.sources.shared.result_columns import check_names
from exporter.sources.source import Query
from exporter.sql.one_select import MYSQL, no_select, one_select
from exporter.sql.parameters import number_parameters

_CONNECT_SECONDS = 30
_CANCEL_SECONDS = 10
_ALIVE_SECONDS = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 6}
"""After how long a server that has vanished without a word is noticed: three minutes."""
_WRITING_WORDS = frozenset({"INTO"})
"""A SELECT with it writes a file on the server, or a variable."""
_SESSION = (
    "set session time_zone = '+00:00', sql_mode = replace(replace(@@sql_mode, 'NO_BACKSLASH_ESCAPES', ''), ',,', ',')",
    "start transaction read only",
)
"""Times are UTC, and a backslash in a string escapes, whatever the server's defaults; nothing can be written."""


class MysqlSource:
    """One MySQL or MariaDB database; implements :class:`~exporter.sources.source.Source`, one read at a time."""

    def __init__(self, settings: MysqlConnection) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._open: _Connection | None = None
        self._canceled = threading.Event()

    @contextmanager
    def read(self, query: Query, *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Run the one SELECT of ``query`` and stream its rows; see the protocol. Parameters are ``$name``."""
        self._canceled.clear()
        sql = _with_literals(one_select(query.sql, lexis=MYSQL, refused=_WRITING_WORDS), query.parameters)
        with self._connection() as connection, closing(_Cursor(connection)) as cursor:
            try:
                self._check_canceled()
                with self._faults():
                    cursor.execute(sql)
                    columns = cursor.columns()
                if not columns:
                    raise no_select(sql, dialect="mysql")
                check_names(column.name for column in columns)
                schema = arrow_schema(columns)
                with self._faults():
                    first = cursor.fetchmany(1)
                batches = self._batches(cursor, first, columns, schema, batch_rows)
                yield pa.RecordBatchReader.from_batches(schema, batches)
            finally:
                cursor.abandon()

    def cancel(self) -> None:
        """Stop a query that another thread is reading; it raises ``QUERY_CANCELED`` there."""
        with self._lock:
            self._canceled.set()
            connection = self._open
        if connection is None:
            return
        try:
            with closing(self._connect(_CANCEL_SECONDS)) as other:
                other.cursor().execute(f"kill query {connection.thread_id()}")
        except (pymysql.Error, ExportError):  # it is over, or the server cannot be asked: then the reader is woken
            connection.cut()

    def check(self) -> None:
        """Raise if the database cannot be reached with these settings."""
        self._canceled.clear()
        with self._connection() as connection, self._faults(), closing(connection.cursor()) as cursor:
            cursor.execute("select 1")
            cursor.fetchall()

    def _batches(
        self,
        cursor: "_Cursor",
        first: Sequence[Sequence[bytes | None]],
        columns: Sequence[ServerColumn],
        schema: pa.Schema,
        size: int,
    ) -> Iterator[pa.RecordBatch]:
        def fetch(count: int) -> Sequence[Sequence[bytes | None]]:
            self._check_canceled()
            with self._faults():
                some: Sequence[Sequence[bytes | None]] = cursor.fetchmany(count)
            return some

        yield from fetch_batches(fetch, lambda some: arrow_batch(some, columns, schema), rows=size, first=first)
        self._check_canceled()  # sleep() and others just end when they are killed

    def _check_canceled(self) -> None:
        if self._canceled.is_set():
            raise query_canceled()

    def _connect(self, seconds: int) -> "_Connection":
        return _Connection(
            **driver_arguments(self._settings),
            connect_timeout=seconds,
            charset="utf8mb4",
            use_unicode=False,
            conv={},
            autocommit=None,
            program_name="schedctl",
        )

    @contextmanager
    def _connection(self) -> Iterator["_Connection"]:
        with self._faults():
            connection = self._connect(_CONNECT_SECONDS)
        try:
            with self._faults(), closing(connection.cursor()) as cursor:
                for statement in _SESSION:
                    cursor.execute(statement)
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
        except pymysql.Error as error:
            raise self._fault(mysql_fault(error)) from error
        except UnicodeDecodeError as error:
            raise configuration("NOT_UTF8", "A column's name is not UTF-8: rename it with AS") from error

    def _fault(self, fault: ExportError) -> ExportError:
        return query_canceled() if self._canceled.is_set() and fault.code == "CONNECTION_LOST" else fault


class _Connection(Connection):  # type: ignore[misc] # the driver has no types
    """A connection that notices when the server has vanished, and that another thread can break off."""

    def connect(self, sock: socket.socket | None = None) -> None:
        super().connect(sock)
        if isinstance(self._sock, socket.socket) and self._sock.family != socket.AF_UNIX:
            for name, value in _ALIVE_SECONDS.items():
                if hasattr(socket, name):
                    self._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def cut(self) -> None:
        """End the connection below the driver, so that a thread that waits for the server goes on with an error."""
        if isinstance(self._sock, socket.socket):
            with suppress(OSError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


class _Cursor(SSCursor):  # type: ignore[misc] # the same
    """A cursor whose result can be left in the middle: the driver's own reads it to its end before it closes."""

    def columns(self) -> list[ServerColumn]:
        """Return the columns of the result."""
        return [
            ServerColumn(
                name=field.name,
                type=field.type_code,
                flags=field.flags,
                length=field.length,
                scale=field.scale,
                charset=field.charsetnr,
            )
            for field in getattr(self._result, "fields", ())  # without rows, not even that is there
        ]

    def abandon(self) -> None:
        """Give up what is left of the result; the connection is of no use after that."""
        if self._result is not None:
            self._result.unbuffered_active = False
        self.connection = None


def _with_literals(sql: str, given: Mapping[str, object]) -> str:
    """Return the SQL with each ``$name`` as a literal: MySQL's text protocol, which streams, binds nothing itself."""
    _, values = number_parameters(sql, given, write=lambda _: "?", dialect="mysql")
    literals = [_literal(value) for value in values]
    written, _ = number_parameters(sql, given, write=lambda number: f" {literals[number - 1]} ", dialect="mysql")
    return written


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value)
        case float():
            if not math.isfinite(value):
                raise configuration("PARAMETER_NOT_SUPPORTED", f"MySQL has no number {value}, which a parameter is")
            return f"{value!r}e0" if "e" not in repr(value) else repr(value)
        case datetime():
            if value.tzinfo is None:
                raise internal("NAIVE_TIME", "a parameter is a time without a zone")
            return f"TIMESTAMP'{value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}'"
        case _:
            return f"'{escape_string(str(value))}'"
