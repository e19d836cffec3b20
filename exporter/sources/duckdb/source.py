"""DuckDB as a source: a database file, or files of other formats read by path, in this process.

Relative paths inside the SQL (``from 'customers.parquet'``) are looked up in the process's working directory, then
in ``directory``, or else beside the database file. A directory whose name has a comma cannot be searched: DuckDB
separates directories by commas.
"""

import atexit
import functools
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa

from exporter.failures import ExportError, configuration
from exporter.host.durable_files import disk_fault
from exporter.rows.rechunk import rechunk
from exporter.settings.databases import DuckdbConnection
from exporter.sources.duckdb.errors import OUT_OF_MEMORY, duckdb_fault, query_canceled
from exporter.sources.duckdb.memory import MEMORY_LIMITS, Room, fitting_limits, remember_need, shared_engine
from exporter.sources.shared.result_columns import check_names
from exporter.sources.source import Query, ReadAgainError

_FEW_ROWS, _MANY_ROWS = 128, 2_048
"""Rows that the engine turns into Arrow's form at once, beside its own copies of their 2,048: few of them, unless the
first ones show that they are narrow. Measured: with 10,000 rows of 60,000 characters at once a read held 500 MB more;
with 128 at once, rows of eight short columns take a third longer."""
_NARROW = 1_000
"""Bytes of a row on average."""
_QUICK_SECONDS = 1.0
"""Within that time a query has to give its first rows to be run again for larger batches."""
THREADS = 1
"""Each thread of the engine needs memory of its own: two cannot sort within these limits."""
_GATHERING = re.compile(r'"name": "[A-Z_]*(?:ORDER|TOP_N|JOIN|WINDOW|GROUP|DISTINCT|CTE|PRODUCT)')
"""The steps of a plan for which it is not worth while to try the first limit."""
_BUFFERING = re.compile(r'"name": "READ_(?:CSV|JSON|NDJSON)')
"""The steps that read text files, in pieces of up to 32 MiB: one such piece does not fit into the first limit beside
another, which shows only in the middle of the rows. Measured with a CSV file of 4,000,000 lines."""
_IN_MEMORY = ":memory:"
_STREAM_BUFFER = "1MiB"
_SPILL = "schedctl-duckdb-"
_LOSSY_TYPES = frozenset({"UHUGEINT", "BIT", "TIME WITH TIME ZONE", "BIGNUM"})
"""What DuckDB 2.0 hands to Arrow with another meaning: wrapped around, as raw storage, without the offset, opaque."""

_Result = TypeVar("_Result")


class DuckdbSource:
    """One DuckDB address; implements :class:`~exporter.sources.source.Source`, one read at a time.

    The file is open, and locked, only while a read or a check goes on. What does not fit into the memory goes to
    ``spill``, by default a temporary directory of this process. Sources of one process that read one file at the same
    time share the engine and its memory, so they have to agree on all of these.
    """

    def __init__(
        self,
        settings: DuckdbConnection,
        *,
        directory: Path | None = None,
        spill: Path | None = None,
        memory_limits: Sequence[int] = MEMORY_LIMITS,
        threads: int = THREADS,
    ) -> None:
        self._path = None if settings.path is None else Path(settings.path)
        self._read_only = settings.read_only
        self._directory = directory or (None if self._path is None else self._path.parent.absolute())
        self._spill = spill
        self._limits = fitting_limits(memory_limits, settings.memory_limit)
        self._engine = {"memory_limit": f"{memory_limits[0]}B", "threads": str(threads)}
        self._lock = threading.Lock()
        self._open: duckdb.DuckDBPyConnection | None = None
        self._canceled = threading.Event()

    @contextmanager
    def read(self, query: Query, *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Run the one SELECT of ``query`` and stream its rows, in the query's order; see the protocol.

        Parameters are ``$name``. Nothing can be written to any database: the query runs in a read-only transaction.
        """
        self._canceled.clear()
        address = self._address()
        shared = None if address == _IN_MEMORY else address
        with self._connection() as connection, shared_engine(shared, self._limits[0]) as engine:
            with _faults():
                room = Room(connection, engine, self._limits, (address, query.sql))
            self._in_room(connection, room, lambda: _check_result(_relation(connection, query)))
            steps = self._in_room(connection, room, lambda: _costly_steps(connection, query))
            with _faults():
                room.make_for_steps(steps)
            few, many = (min(batch_rows, rows) for rows in (_FEW_ROWS, _MANY_ROWS))
            began = time.monotonic()
            reader, first = self._in_room(connection, room, lambda: _begun(connection, query, few))
            quick = time.monotonic() - began < _QUICK_SECONDS
            if quick and first is not None and first.num_rows == few and first.nbytes < _NARROW * few:
                del first
                reader.close()
                reader, first = self._in_room(connection, room, lambda: _begun(connection, query, many))
            with closing(reader):
                batches = rechunk(self._batches(reader, first, room), rows=batch_rows)
                yield pa.RecordBatchReader.from_batches(reader.schema, batches)

    def cancel(self) -> None:
        """Stop a query that another thread is reading; it raises ``QUERY_CANCELED`` there.

        In the instant in which the engine begins a query it cannot be interrupted; then the first batch raises.
        """
        with self._lock:
            self._canceled.set()
            if self._open is not None:
                self._open.interrupt()

    def check(self) -> None:
        """Raise if the database cannot be opened and read."""
        with self._connection() as connection, _faults():
            connection.sql("select 1").fetchall()

    def _in_room(self, connection: duckdb.DuckDBPyConnection, room: Room, act: Callable[[], _Result]) -> _Result:
        """Return what ``act`` does, with more memory if it takes that.

        Already to bind a query may take more than the first limit: DuckDB opens JSON files for that, in 32 MiB.
        """
        while True:
            self._check_canceled()
            try:
                with _faults():
                    return act()
            except ExportError as fault:
                if fault.code != OUT_OF_MEMORY:
                    raise
                limit = room.larger(fault)
            with _faults():
                connection.execute("rollback")
                connection.execute("begin transaction read only")
                room.make(limit)

    def _batches(
        self, reader: pa.RecordBatchReader, first: pa.RecordBatch | None, room: Room
    ) -> Iterator[pa.RecordBatch]:
        batch = first
        while batch is not None:
            self._check_canceled()
            yield batch
            self._check_canceled()
            batch = None  # or it would be held while the next is made
            try:
                with _faults():
                    batch = next(reader, None)
            except ExportError as fault:
                if fault.code != OUT_OF_MEMORY:
                    raise
                remember_need(room.place, room.larger(fault))
                raise ReadAgainError(fault.kind, fault.code, fault.message) from fault

    def _check_canceled(self) -> None:
        if self._canceled.is_set():
            raise query_canceled()

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        address, config = self._address(), self._config()
        with _faults():
            connection = duckdb.connect(address, read_only=self._opens_read_only(), config=config)
        with closing(connection):
            with _faults():
                self._prepare(connection)
            with self._lock:
                self._open = connection
            try:
                yield connection
            finally:
                with self._lock:
                    self._open = None

    def _address(self) -> str:
        if self._path is None:
            return _IN_MEMORY
        if not self._path.is_file():  # DuckDB would make a new database of a mistyped name
            raise configuration("NO_DATABASE_FILE", f"There is no database file {self._path}: correct the path")
        return str(self._path)

    def _opens_read_only(self) -> bool:
        return self._read_only and self._path is not None

    def _config(self) -> dict[str, str | bool | int | float | list[str]]:
        return {
            **self._engine,
            "temp_directory": str(self._spill or _own_spill()),
            # No downloads, and no code that a query names, come into this process.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            # Without this, a table name that is missing may find a Python variable.
            "python_enable_replacements": "false",
        }

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("set timezone = 'UTC'")
        connection.execute("set enable_progress_bar = false")  # in a process without a script it is drawn on stdout
        connection.execute(f"set streaming_buffer_size = '{_STREAM_BUFFER}'")
        if self._directory is not None and "," not in str(self._directory):
            connection.execute("set file_search_path = $directory", {"directory": str(self._directory)})
        connection.execute("begin transaction read only")


@contextmanager
def _faults() -> Iterator[None]:
    """Turn what DuckDB raises, itself or through Arrow, into an ExportError."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise duckdb_fault(error) from error


def _relation(connection: duckdb.DuckDBPyConnection, query: Query, before: str = "") -> duckdb.DuckDBPyRelation:
    """Bind the one SELECT of ``query``; nothing runs yet. Values that it does not name are left out.

    It is the relation's reader that streams: one of ``connection.execute()`` holds the whole result.
    """
    statements = connection.extract_statements(query.sql)
    if len(statements) != 1:
        raise configuration("NOT_ONE_QUERY", f"Write one SELECT: the query holds {len(statements)} statements")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = str(statements[0].type).rpartition(".")[2]
        raise configuration("NOT_A_SELECT", f"Write one SELECT: the query is of type {kind}")
    named = statements[0].named_parameters
    values = _values(named, query.parameters)
    return connection.sql(before + query.sql, params=values or None)


def _costly_steps(connection: duckdb.DuckDBPyConnection, query: Query) -> int:
    """Return for how many reasons the first limits need not be tried: rows are gathered, text files are read."""
    plan = str(_relation(connection, query, before="explain (format json) ").fetchall())
    return sum(pattern.search(plan) is not None for pattern in (_GATHERING, _BUFFERING))


def _begun(
    connection: duckdb.DuckDBPyConnection, query: Query, rows: int
) -> tuple[pa.RecordBatchReader, pa.RecordBatch | None]:
    """Run the query in batches of ``rows``; return the reader and its first batch, if there is one."""
    reader = _relation(connection, query).to_arrow_reader(rows)
    try:
        return reader, next(reader, None)
    except BaseException:
        reader.close()
        raise


def _values(named: set[str], given: Mapping[str, object]) -> dict[str, object]:
    missing = sorted(named - given.keys())
    if missing:
        known = ", ".join(f"${name}" for name in sorted(given)) or "none"
        raise configuration("UNKNOWN_PARAMETER", f"The query uses ${missing[0]}; the known parameters are: {known}")
    return {name: given[name] for name in named}


def _check_result(relation: duckdb.DuckDBPyRelation) -> None:
    _check_columns(relation.columns, [str(kind) for kind in relation.types])


def _check_columns(names: list[str], types: list[str]) -> None:
    check_names(names)
    for name, kind in zip(names, types, strict=True):
        if kind in _LOSSY_TYPES:
            raise configuration(
                "TYPE_NOT_SUPPORTED",
                f'Column "{name}" is of type {kind}, which has no faithful form: cast it to VARCHAR',
            )


@functools.cache
def _own_spill() -> Path:
    """Return a directory that lives as long as this process; one for all sources, as they may share an engine.

    What processes left that were killed goes first: it may be many gigabytes.
    """
    place = Path(tempfile.gettempdir())
    remove_left_spills(place)
    try:
        directory = Path(tempfile.mkdtemp(prefix=f"{_SPILL}{os.getpid()}-{socket.gethostname()}-", dir=place))
    except OSError as error:
        raise disk_fault(error, place) from error
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def remove_left_spills(place: Path) -> None:
    """Remove the spill directories in ``place`` of processes of this host that are gone, as far as that is allowed."""
    ours = re.compile(rf"{_SPILL}(\d+)-{re.escape(socket.gethostname())}-")
    for directory in place.glob(f"{_SPILL}*"):
        found = ours.match(directory.name)
        if found and Path("/proc/self").exists() and not Path("/proc", found[1]).exists():
            shutil.rmtree(directory, ignore_errors=True)
