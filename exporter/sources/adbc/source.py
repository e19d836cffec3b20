"""Databases that an ADBC driver reaches, as a source: Flight SQL servers, Snowflake, BigQuery and others.

The driver is a shared library that the driver manager loads into this process; its package, ``adbc-driver-NAME``,
brings it. Rows come as the Arrow batches that the server sends, and are cut to the size that was asked for.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import adbc_driver_manager as adbc
import pyarrow as pa

# The one reader that gives a failure in the middle of the rows its status code.
from adbc_driver_manager._reader import AdbcRecordBatchReader
from pydantic import SecretStr

from exporter.failures import ExportError, configuration, internal
from exporter.masking import hide, written_forms
from exporter.rows.rechunk import rechunk
from exporter.settings.adbc import AdbcConnection, uri_fault
from exporter.sources.adbc.columns import Plain, without_views
from exporter.sources.adbc.drivers import BOUNDED, READ_ONLY, forms, library, sort_options, written_values
from exporter.sources.adbc.errors import adbc_fault, query_canceled
from exporter.sources.adbc.literals import PROBE, doubtful, echo, not_supported, odd_texts, paste, quoting_of, used
from exporter.sources.adbc.select_guard import check_select
from exporter.sources.shared.result_columns import check_names
from exporter.sources.source import Query
from exporter.sql.dialects import dialect_of
from exporter.sql.one_select import no_select

_LEAST_SECRET = 4
"""A shorter one is not hidden: its letters stand in every other word."""
_CANCEL_SECONDS = 5.0
_CANCEL_AGAIN_SECONDS = 0.1
_CANCEL_AGE_SECONDS = 0.5
"""A server that is still planning a query may end the call alone and run the query all the same: Sail 0.7 does."""


class AdbcSource:
    """One database behind an ADBC driver; implements :class:`~exporter.sources.source.Source`, one read at a time.

    ``directory`` is where the path of a driver's library is looked up. Making it raises configuration
    ``DRIVER_MISSING`` or ``ADDRESS_NOT_SUPPORTED``.
    """

    def __init__(self, settings: AdbcConnection, *, directory: Path | None = None) -> None:
        self._driver = settings.driver
        self._dialect = dialect_of(settings)
        self._options = sort_options({name: _revealed(value) for name, value in settings.options.items()})
        self._address = library(settings.driver, directory)
        if settings.uri is not None:
            self._address["uri"] = _revealed(settings.uri)
            if fault := uri_fault(settings.driver, self._address["uri"]):
                raise configuration("ADDRESS_NOT_SUPPORTED", f"uri: {fault}")
        secrets = (_revealed(each) for each in settings.options.values() if isinstance(each, SecretStr))
        known = {*secrets, self._address.get("uri", "")}
        self._secrets = sorted((each for each in known if len(each) >= _LEAST_SECRET), key=len, reverse=True)
        self._lock = threading.Lock()
        self._statement: adbc.AdbcStatement | None = None
        self._waiting = False
        self._began = 0.0
        self._returned = threading.Event()
        self._canceled = threading.Event()

    @contextmanager
    def read(self, query: Query, *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Run the one SELECT of ``query`` and stream its rows; see the protocol. Parameters are ``$name``."""
        self._canceled.clear()
        check_select(query.sql, self._dialect)
        with ExitStack() as stack:
            connection = stack.enter_context(self._connection())
            reader = self._begin(stack, connection, query)
            check_names(reader.schema.names)
            plain = Plain(reader.schema)
            pieces = rechunk(self._received(reader, query.sql), rows=batch_rows)
            yield pa.RecordBatchReader.from_batches(plain.schema, self._batches(pieces, plain))

    def cancel(self) -> None:
        """Stop a query that another thread is reading; it raises ``QUERY_CANCELED`` there.

        A driver that has just begun a call may not notice a cancel, so it is repeated, for 5 seconds at most, until
        that call has ended. The first one waits until the call has lasted half a second, or has ended.
        """
        self._canceled.set()
        with self._lock:
            self._returned.clear()
            young = _CANCEL_AGE_SECONDS - (time.monotonic() - self._began) if self._waiting else 0.0
        if young > 0:
            self._returned.wait(young)
        for _ in range(int(_CANCEL_SECONDS / _CANCEL_AGAIN_SECONDS)):
            self._returned.clear()
            with self._lock:
                if self._statement is None or not self._waiting:
                    return
                try:
                    self._statement.cancel()
                except adbc.NotSupportedError:  # then it raises between two batches
                    return
                except adbc.Error:  # it is over, or the server is gone: then the reader finds that out by itself
                    pass
            self._returned.wait(_CANCEL_AGAIN_SECONDS)

    def check(self) -> None:
        """Raise if the database cannot be reached with these settings."""
        self._canceled.clear()
        with self._connection() as connection:
            self._answer(connection, "select 1 as x")

    def _begin(self, stack: ExitStack, connection: adbc.AdbcConnection, query: Query) -> AdbcRecordBatchReader:
        """Run the query with its values bound, or, where something says that it cannot bind them, as literals."""
        values = used(query.sql, query.parameters, self._dialect)
        if values:
            with ExitStack() as trial:
                try:
                    reader = self._execute(trial, self._prepared(trial, connection, query.sql, values), query.sql)
                except ExportError as fault:
                    if not isinstance(fault.__cause__, adbc.NotSupportedError):
                        raise
                else:
                    stack.push(trial.pop_all())
                    return reader
        sql = self._pasted(connection, query.sql, values) if values else query.sql
        return self._execute(stack, self._new(stack, connection, sql), query.sql)

    def _prepared(
        self, stack: ExitStack, connection: adbc.AdbcConnection, sql: str, values: Mapping[str, object]
    ) -> adbc.AdbcStatement:
        """Return a statement with its values; it has not run yet."""
        refused: ExportError | None = None
        for form in forms(self._driver):
            written, bound = form(sql, values, written_values(self._driver), self._dialect)
            with ExitStack() as trial:
                statement = self._new(trial, connection, written)
                try:
                    if bound:
                        with self._faults(sql), self._call():
                            statement.prepare()
                            statement.bind(_one_row(bound))
                except ExportError as fault:
                    if isinstance(fault.__cause__, adbc.NotSupportedError):
                        raise
                    refused = refused or fault
                else:
                    stack.push(trial.pop_all())
                    return statement
        raise refused or no_select(sql, dialect=self._dialect)

    def _pasted(self, connection: adbc.AdbcConnection, sql: str, values: Mapping[str, object]) -> str:
        """Return the SQL with literals, for a server that cannot bind; it is asked how it reads them first."""
        is_odd = bool(odd_texts(values.values()))
        quoting = quoting_of(self._answer(connection, PROBE)) if is_odd else None
        written = paste(sql, values, quoting, self._dialect)
        asked = doubtful(values.values())
        if asked:
            back = self._answer(connection, echo(asked, quoting))
            wrong = next((value for value, same in zip_longest(asked, back) if not _is_same(value, same)), None)
            if wrong is not None:
                raise not_supported(next(name for name, value in values.items() if value == wrong))
        return written

    def _answer(self, connection: adbc.AdbcConnection, sql: str) -> list[Any]:
        """Return the one row of a query of our own."""
        with ExitStack() as stack:
            reader = self._execute(stack, self._new(stack, connection, sql), sql)
            with self._faults(sql), self._call():
                rows = reader.read_all().to_pylist()
        return list(rows[0].values()) if rows else []

    def _execute(self, stack: ExitStack, statement: adbc.AdbcStatement, sql: str) -> AdbcRecordBatchReader:
        with self._faults(sql), self._call():
            handle, _ = statement.execute_query()
        if not handle.is_valid:
            raise no_select(sql, dialect=self._dialect)
        with self._faults(sql):
            reader = AdbcRecordBatchReader._import_from_c(handle.address)  # noqa: SLF001 - it has no other door
        stack.enter_context(closing(reader))
        stack.callback(self._wait_for_start)
        return reader

    def _wait_for_start(self) -> None:
        """Before a canceled query is closed: let the server begin it, so that it knows what ends."""
        if self._canceled.is_set():
            time.sleep(max(0.0, _CANCEL_AGE_SECONDS - (time.monotonic() - self._began)))

    def _received(self, reader: AdbcRecordBatchReader, sql: str) -> Iterator[pa.RecordBatch]:
        while True:
            with self._faults(sql), self._call():
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            yield without_views(batch)

    def _batches(self, pieces: Iterator[pa.RecordBatch], plain: Plain) -> Iterator[pa.RecordBatch]:
        for piece in pieces:
            self._check_canceled()
            yield plain.apply(piece)
        self._check_canceled()

    def _check_canceled(self) -> None:
        if self._canceled.is_set():
            raise query_canceled()

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Mark the time that this thread is inside the driver."""
        with self._lock:
            self._check_canceled()  # here, so that a cancel either is seen or finds this thread waiting
            self._waiting = True
            self._began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._waiting = False
            self._returned.set()

    @contextmanager
    def _connection(self) -> Iterator[adbc.AdbcConnection]:
        """Connect, read-only where the driver can; leaving closes everything."""
        with ExitStack() as stack:
            with self._faults(""):
                database = adbc.AdbcDatabase(**self._address, **self._options.database)
                stack.callback(_released, database)
                connection = adbc.AdbcConnection(database, **self._options.connection)
                stack.callback(_released, connection)
            with suppress(adbc.NotSupportedError, adbc.ProgrammingError):
                connection.set_options(**{"adbc.connection.readonly": "true"})
            if self._driver in READ_ONLY:
                with self._faults(""):
                    _update(connection, READ_ONLY[self._driver])
            yield connection

    def _new(self, stack: ExitStack, connection: adbc.AdbcConnection, sql: str) -> adbc.AdbcStatement:
        """Return a statement with its options, which a cancel finds until ``stack`` closes it."""
        with self._faults(sql):
            statement = adbc.AdbcStatement(connection)
            stack.callback(self._close, statement)
            for name, value in BOUNDED.get(self._driver, {}).items():
                with suppress(adbc.NotSupportedError, adbc.ProgrammingError):  # another version may not have it
                    _set_option(statement, name, value)
            for name, value in self._options.statement.items():
                _set_option(statement, name, value)
            statement.set_sql_query(sql)
        with self._lock:
            self._statement = statement
        return statement

    def _close(self, statement: adbc.AdbcStatement) -> None:
        with self._lock:
            if self._statement is statement:
                self._statement = None
        _released(statement)

    @contextmanager
    def _faults(self, sql: str) -> Iterator[None]:
        """Turn what the driver raises, itself or through Arrow, into an ExportError."""
        try:
            yield
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise self._fault(error, sql) from error

    def _fault(self, error: Exception, sql: str) -> ExportError:
        if self._canceled.is_set():
            return query_canceled()
        # A driver may quote an option that it does not understand.
        text = hide(str(error), (form for secret in self._secrets for form in written_forms(secret)))
        status = error.status_code.name if isinstance(error, adbc.Error) else ""
        return adbc_fault(status=status, text=text, sql=sql, sqlstate=getattr(error, "sqlstate", None))


def _is_same(value: object, answer: object) -> bool:
    """Whether a server gave a value back; a time without a zone is not the same as one with."""
    if isinstance(value, datetime):
        return isinstance(answer, datetime) and answer.tzinfo is not None and answer == value
    return value == answer


def _one_row(values: list[object]) -> pa.RecordBatch:
    """Return the values of parameters as a driver takes them: a row, whose columns are counted from 0."""
    columns = [pa.array([value], _type_of(value)) for value in values]
    return pa.RecordBatch.from_arrays(columns, names=[str(number) for number in range(len(columns))])


def _type_of(value: object) -> pa.DataType | None:
    return pa.timestamp("us", "UTC") if isinstance(value, datetime) else None


def _set_option(statement: adbc.AdbcStatement, name: str, value: str) -> None:
    """Set an option, as a number if the driver does not take it as text: BigQuery's tells the two apart."""
    try:
        statement.set_options(**{name: value})
    except (adbc.NotSupportedError, adbc.ProgrammingError):
        if not value.isdecimal():
            raise
        statement.set_options(**{name: int(value)})


def _update(connection: adbc.AdbcConnection, sql: str) -> None:
    statement = adbc.AdbcStatement(connection)
    try:
        statement.set_sql_query(sql)
        statement.execute_update()
    finally:
        _released(statement)


def _released(handle: Any) -> None:  # noqa: ANN401 - a database, a connection or a statement
    """Close a handle; if the server is gone, there is nothing to close there."""
    with suppress(adbc.Error):
        handle.close()


def _revealed(secret: object) -> str:
    if isinstance(secret, SecretStr):
        return secret.get_secret_value()
    if not isinstance(secret, str):
        raise internal("SECRET_UNRESOLVED", "a secret of the connection is a reference that nobody has looked up")
    return secret
