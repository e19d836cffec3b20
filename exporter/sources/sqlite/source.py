"""SQLite as a source: a database file, read by Python's own module in this process.

A column of SQLite holds values of any type, whatever it was declared as. So that no value is bent, and none breaks off
a result of years because it is the first of its kind, all values go out as text: integers in full, floating-point
numbers as the shortest text that means the same number (infinity has none and rejects its row), and blobs in base64.
"""

import base64
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

from exporter.failures import ExportError, configuration, transient
from exporter.rows.casts import mixed
from exporter.rows.rechunk import fetch_batches
from exporter.settings.databases import SqliteConnection
from exporter.sources.shared.result_columns import check_names, marked_numeral
from exporter.sources.source import Query
from exporter.sql.one_select import READING, first_word, no_select

_STEPS_BETWEEN_LOOKS = 10_000
_BUSY_SECONDS = 30.0
_PASSING = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_NOMEM", "SQLITE_PROTOCOL"})
_WITHOUT_VALUES = frozenset(
    {
        *("malformed JSON", "malformed JSONB", "integer overflow", "LIKE or GLOB pattern too complex"),
        *("string or blob too big", "ESCAPE expression must be a single character"),
    }
)
"""What SQLite says of a row without quoting it."""
_UNDECODED = re.compile(r"Could not decode to UTF-8 column '(.*?)' with text '", re.DOTALL)
_UNTOLD = "SQLite's own words are left out, as they may quote a row: run the query in SQLite to see them"


class SqliteSource:
    """One SQLite file; implements :class:`~exporter.sources.source.Source`, one read at a time. Never writes to it."""

    def __init__(self, settings: SqliteConnection) -> None:
        self._path = Path(settings.path)
        self._canceled = threading.Event()

    @contextmanager
    def read(self, query: Query, *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Run the one SELECT of ``query`` and stream its rows; see the protocol. Parameters are ``$name``."""
        self._canceled.clear()
        _check_reads(query.sql)
        with self._connection() as connection, closing(connection.cursor()) as cursor:
            values = _Values({name: _parameter(value) for name, value in query.parameters.items()})
            with self._faults(query.sql, of_rows=lambda: _is_sound(connection, query.sql, values)):
                cursor.execute(query.sql, values)
                first = cursor.fetchmany(1)
            if cursor.description is None:
                raise no_select(query.sql, dialect="sqlite")
            names = [column[0] for column in cursor.description]
            check_names(names)
            schema = pa.schema([mixed(name) for name in names])
            yield pa.RecordBatchReader.from_batches(schema, self._batches(cursor, first, schema, query.sql, batch_rows))

    def cancel(self) -> None:
        """Stop a query that another thread is reading; it raises ``QUERY_CANCELED`` there."""
        self._canceled.set()

    def check(self) -> None:
        """Raise if the database cannot be opened and read."""
        self._canceled.clear()
        with self._connection() as connection, self._faults(""):
            connection.execute("select count(*) from sqlite_schema").fetchall()

    def _batches(
        self, cursor: sqlite3.Cursor, first: Sequence[Sequence[object]], schema: pa.Schema, sql: str, size: int
    ) -> Iterator[pa.RecordBatch]:
        def fetch(count: int) -> Sequence[Sequence[object]]:
            self._check_canceled()
            with self._faults(sql, of_rows=lambda: True):
                return cursor.fetchmany(count)

        def make(rows: Sequence[Sequence[object]]) -> pa.RecordBatch:
            self._check_canceled()
            columns = [pa.array(map(_text, values), pa.string()) for values in zip(*rows, strict=True)]
            return pa.RecordBatch.from_arrays(columns, schema=schema)

        yield from fetch_batches(fetch, make, rows=size, first=first)

    def _check_canceled(self) -> None:
        if self._canceled.is_set():
            raise transient("QUERY_CANCELED", "The query was canceled")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if not self._path.is_file():  # SQLite would say only that it cannot open it
            raise configuration("NO_DATABASE_FILE", f"There is no database file {self._path}: correct the path")
        address = f"file:{quote(str(self._path.absolute()))}?mode=ro"
        with self._faults(""):
            connection = sqlite3.connect(
                address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        with closing(connection):
            with self._faults(""):
                connection.execute("pragma query_only = on")
                connection.set_progress_handler(self._canceled.is_set, _STEPS_BETWEEN_LOOKS)
                connection.execute("begin")
            yield connection

    @contextmanager
    def _faults(self, sql: str, *, of_rows: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Turn what the module raises into an ExportError; what it says ``of_rows`` is not shown: it may quote them."""
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeDecodeError) as error:
            raise sqlite_fault(error, sql, of_rows=of_rows()) from error


def _check_reads(sql: str) -> None:
    """Raise unless a statement begins as a query: SQLite runs PRAGMA, ATTACH and EXPLAIN on a read-only file too."""
    sql = sql.replace("\ufeff", " ")  # which it is to SQLite
    if first_word(sql, dialect="sqlite") not in READING:  # TABLE, which SQLite does not know, it refuses itself
        raise no_select(sql, dialect="sqlite")


class _Values(dict[str, object]):
    """The values of parameters; one that the query names and nobody gave is a fault of the query."""

    def __missing__(self, name: str) -> object:
        known = ", ".join(f"${each}" for each in sorted(self)) or "none"
        raise configuration("UNKNOWN_PARAMETER", f"The query uses ${name}; the known parameters are: {known}")


def _is_sound(connection: sqlite3.Connection, sql: str, values: _Values) -> bool:
    """Whether a query has nothing wrong with its text, so that an error was raised while rows were computed."""
    try:
        connection.execute(f"explain {sql}", values)
    except (sqlite3.Error, sqlite3.Warning, OverflowError):
        return False
    return True


def _parameter(value: object) -> object:
    """Return a value as SQLite can hold it: times as ISO 8601 text, as its own functions write and read them."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return value


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case bytes():
            return base64.b64encode(value).decode()
        case float():
            return marked_numeral(value)
        case _:
            return str(value)


def sqlite_fault(error: Exception, sql: str, *, of_rows: bool = False) -> ExportError:
    """Return the ExportError for an error of Python's SQLite; what it says ``of_rows`` is not shown.

    Nor are values that it quotes elsewhere.
    """
    name = getattr(error, "sqlite_errorname", "") or ""
    text = str(error)
    if any(name == code or name.startswith(f"{code}_") for code in _PASSING):
        return transient(name, text)
    code, message = name or "SQLITE_ERROR", text
    if name == "SQLITE_INTERRUPT":
        return transient("QUERY_CANCELED", "The query was canceled")
    if "one statement at a time" in text:
        code, message = "NOT_ONE_QUERY", "Write one SELECT: the query holds 2 statements or more"
    elif name.startswith("SQLITE_READONLY"):
        code, message = "QUERY_WRITES", f"The query writes ({first_word(sql, dialect='sqlite')}): a source is only read"
    elif isinstance(error, UnicodeDecodeError) or "Could not decode to UTF-8" in text:
        code, message = "NOT_UTF8", f"{_undecoded(text)} is not UTF-8: cast it to BLOB, or fix it"
    elif isinstance(error, OverflowError):
        code, message = "PARAMETER_TOO_LARGE", "A parameter is larger than SQLite's integers"
    elif of_rows and name == "SQLITE_ERROR" and text not in _WITHOUT_VALUES:
        message = _UNTOLD
    return configuration(code, message)


def _undecoded(text: str) -> str:
    """Return which text could not be decoded: Python names its column in ASCII, before the text itself."""
    found = _UNDECODED.match(text)
    return 'A text of column "{}"'.format(re.sub("\ufffd+", "…", found[1])) if found else "A text of the result"
