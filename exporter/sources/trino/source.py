"""Trino as a source, over its own client: pages of rows by HTTP, as the cluster makes them."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any

import pyarrow as pa
import requests
import trino
from pydantic import SecretStr
from trino.auth import BasicAuthentication
from trino.dbapi import Connection

from exporter.failures import configuration, internal
from exporter.http.calls import BrokenAnswerError, CallStoppedError
from exporter.rows.rechunk import fetch_batches
from exporter.settings.connection import TrinoConnection
from exporter.sources.shared.result_columns import check_names
from exporter.sources.source import Query
from exporter.sources.trino.columns import ResultColumn, arrow_batch, arrow_schema, result_column
from exporter.sources.trino.errors import query_canceled, trino_fault
from exporter.sources.trino.http_session import CALL_SECONDS, TrinoSession
from exporter.sql.one_select import STANDARD, no_select, one_select
from exporter.sql.parameters import number_parameters

_CALLS = 5
"""How often one call is made, with growing pauses of some tenths of a second between."""
_BIGINT = 2**63
_DECIMAL_DIGITS = 38
_FAULTS = (
    trino.exceptions.Error,
    trino.exceptions.HttpError,
    requests.exceptions.RequestException,
    CallStoppedError,
    BrokenAnswerError,
    LookupError,
    ValueError,
    AttributeError,
    TypeError,
    RecursionError,
)
"""What the client raises; from LookupError on where an answer is none of Trino's."""


class TrinoSource:
    """One Trino cluster; implements :class:`~exporter.sources.source.Source`, one read at a time."""

    def __init__(self, settings: TrinoConnection) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._open: TrinoSession | None = None
        self._canceled = threading.Event()

    @contextmanager
    def read(self, query: Query, *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Run the one SELECT of ``query`` and stream its rows; see the protocol. Parameters are ``$name``."""
        self._canceled.clear()
        sql, values = _with_marks(one_select(query.sql, lexis=STANDARD), query.parameters)
        with self._cursor() as cursor:
            with self._faults():
                if values:
                    cursor.connection.legacy_prepared_statements = _is_old(cursor.connection)
                cursor.execute(sql, values)
                described = cursor.description
            self._check_canceled()
            if not described:
                raise no_select(sql, dialect="trino")
            check_names(each.name for each in described)
            columns = [result_column(each.name, str(each.type_code)) for each in described]
            schema = arrow_schema(columns)
            yield pa.RecordBatchReader.from_batches(schema, self._batches(iter(cursor), columns, schema, batch_rows))

    def cancel(self) -> None:
        """Stop a query that another thread is reading; it raises ``QUERY_CANCELED`` there, and ends it in the cluster.

        Never waits for the cluster.
        """
        with self._lock:
            self._canceled.set()
            session = self._open
        if session is not None:
            session.stop()

    def check(self) -> None:
        """Raise if the cluster cannot be reached with these settings."""
        self._canceled.clear()
        with self._cursor() as cursor, self._faults():
            cursor.execute("SELECT 1")
            cursor.fetchall()

    def _batches(
        self, rows: Iterator[Sequence[Any]], columns: Sequence[ResultColumn], schema: pa.Schema, size: int
    ) -> Iterator[pa.RecordBatch]:
        def fetch(count: int) -> list[Sequence[Any]]:
            self._check_canceled()
            with self._faults():
                return list(islice(rows, count))

        yield from fetch_batches(fetch, lambda some: arrow_batch(some, columns, schema), rows=size)
        self._check_canceled()

    def _check_canceled(self) -> None:
        if self._canceled.is_set():
            raise query_canceled()

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """Give a cursor whose query is ended on the server when it is left; the client's own has no types."""
        with self._faults():
            session = TrinoSession(self._settings)
            connection: Any = _connect(self._settings, session)
            # Values as they were sent: the client's own objects would be rounded to microseconds.
            cursor = connection.cursor(legacy_primitive_types=True)
        with self._lock:
            self._open = session
        try:
            self._check_canceled()
            yield cursor
        finally:
            with self._lock:
                self._open = None
            with suppress(*_FAULTS):
                cursor.close()
            connection.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            raise (query_canceled() if self._canceled.is_set() else trino_fault(error)) from error


def _connect(settings: TrinoConnection, session: TrinoSession) -> Connection:
    password = _revealed(settings.password)
    return Connection(
        host=settings.host,
        port=settings.port or (443 if settings.http_scheme == "https" else 8080),
        user=settings.user,
        source="schedctl",
        catalog=settings.catalog,
        schema=settings.schema,
        http_scheme=settings.http_scheme,
        auth=None if password is None else BasicAuthentication(settings.user, password),
        allow_insecure_auth=True,  # the settings allow it to this machine only
        http_session=session,
        timezone="UTC",
        max_attempts=_CALLS,
        request_timeout=CALL_SECONDS,
        # Pages of about 1 MB; the segments of its other protocol hold many times that.
        encoding=None,  # type: ignore[arg-type] # the client takes it
    )


def _is_old(connection: Any) -> bool:  # noqa: ANN401 - the client's own has no types
    """Whether a cluster is from before EXECUTE IMMEDIATE. The client's own question would leave a query open there."""
    cursor = connection.cursor()
    try:
        cursor.execute("EXECUTE IMMEDIATE 'SELECT 1'")
        cursor.fetchall()
    except trino.exceptions.TrinoUserError:
        return True
    return False


def _with_marks(sql: str, given: Mapping[str, object]) -> tuple[str, list[object]]:
    """Return the SQL with a ``?`` for each ``$name``, and a value for each of these."""
    asked: list[int] = []

    def write(number: int) -> str:
        asked.append(number - 1)
        return "?"

    written, values = number_parameters(sql, given, write=write, dialect="trino")
    return written, [_value(values[each]) for each in asked]


def _value(value: object) -> object:
    """Return a value as the client writes it as a literal of Trino's without loss."""
    match value:
        case bool() | str() | float() | None:
            return value
        case int() if -_BIGINT <= value < _BIGINT:
            return value
        case int():
            if len(str(abs(value))) > _DECIMAL_DIGITS:
                raise configuration("PARAMETER_NOT_SUPPORTED", "A parameter is a whole number of more than 38 digits")
            return Decimal(value)
        case datetime():
            if value.tzinfo is None:
                raise internal("NAIVE_TIME", "a parameter is a time without a zone")
            return value.astimezone(UTC)
        case _:
            return str(value)


def _revealed(secret: Any) -> str | None:  # noqa: ANN401 - whatever the settings hold
    if secret is None:
        return None
    if not isinstance(secret, SecretStr):
        raise internal("SECRET_UNRESOLVED", "a secret of the connection is a reference that nobody has looked up")
    return secret.get_secret_value()
