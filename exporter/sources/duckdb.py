"""DuckDB as a source: a database file, or files of other formats read by path, in this process.

Relative paths inside the SQL (``from 'customers.parquet'``) are looked up in the process's working directory, then
in ``directory``, or else beside the database file. A directory whose name has a comma cannot be searched: DuckDB
separates directories by commas.
"""

import atexit
import functools
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from exporter.connections import DuckdbConnection
from exporter.disk import disk_fault
from exporter.failures import configuration
from exporter.sources import Query
from exporter.sources.duckdb_faults import duckdb_fault, query_canceled

MEMORY_LIMIT = "48MiB"
"""What the engine holds before it spills to disk. Measured: scans, sorts, joins and groupings of 4,000,000 rows of 8
columns run in it, at about 155 MB for the whole process, of which 100 MB are Python and the two libraries."""
THREADS = 1
"""Each thread of the engine needs memory of its own (two could not sort within the limit above)."""
_STREAM_BUFFER = "1MiB"
_LOSSY_TYPES = frozenset({"UHUGEINT", "BIT", "TIME WITH TIME ZONE", "BIGNUM"})
"""What DuckDB 2.0 hands to Arrow with another meaning: wrapped around, as raw storage, without the offset, opaque."""


class DuckdbSource:
    """One DuckDB address; implements :class:`~exporter.sources.Source`, one read at a time.

    The file is open, and locked, only while a read or a check goes on. What does not fit into ``memory_limit`` goes to
    ``spill``, by default a temporary directory of this process. Sources of one process that read one file at a time
    share the engine and its memory, so they have to agree on these.
    """

    def __init__(
        self,
        settings: DuckdbConnection,
        *,
        directory: Path | None = None,
        spill: Path | None = None,
        memory_limit: str = MEMORY_LIMIT,
        threads: int = THREADS,
    ) -> None:
        self._path = None if settings.path is None else Path(settings.path)
        self._read_only = settings.read_only
        self._directory = directory or (None if self._path is None else self._path.parent.absolute())
        self._spill = spill
        self._engine = {"memory_limit": memory_limit, "threads": str(threads)}
        self._lock = threading.Lock()
        self._open: duckdb.DuckDBPyConnection | None = None
        self._canceled = threading.Event()

    @contextmanager
    def read(self, query: Query, *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Run the one SELECT of ``query`` and stream its rows, in the query's order; see the protocol.

        Parameters are ``$name``. Nothing can be written to any database: the query runs in a read-only transaction.
        """
        self._canceled.clear()
        with self._connection() as connection:
            with _faults():
                relation = _relation(connection, query)
                _check_columns(relation.columns, [str(kind) for kind in relation.types])
                self._check_canceled()
                # The relation's reader streams; a reader of connection.execute() holds the whole result.
                reader = relation.to_arrow_reader(batch_rows)
            with closing(reader):
                yield pa.RecordBatchReader.from_batches(reader.schema, self._batches(reader))

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

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            self._check_canceled()
            try:
                with _faults():
                    batch = reader.read_next_batch()
            except StopIteration:
                return
            yield batch

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
            return ":memory:"
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


def _relation(connection: duckdb.DuckDBPyConnection, query: Query) -> duckdb.DuckDBPyRelation:
    """Bind the one SELECT of ``query``; nothing runs yet. Values that it does not name are left out."""
    statements = connection.extract_statements(query.sql)
    if len(statements) != 1:
        raise configuration("NOT_ONE_QUERY", f"Write one SELECT: the query holds {len(statements)} statements")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = str(statements[0].type).rpartition(".")[2]
        raise configuration("NOT_A_SELECT", f"Write one SELECT: the query is of type {kind}")
    named = statements[0].named_parameters
    values = _values(named, query.parameters)
    return connection.sql(query.sql, params=values) if values else connection.sql(query.sql)


def _values(named: set[str], given: Mapping[str, object]) -> dict[str, object]:
    missing = sorted(named - given.keys())
    if missing:
        known = ", ".join(f"${name}" for name in sorted(given)) or "none"
        raise configuration("UNKNOWN_PARAMETER", f"The query uses ${missing[0]}; the known parameters are: {known}")
    return {name: given[name] for name in named}


def _check_columns(names: list[str], types: list[str]) -> None:
    seen: set[str] = set()
    for number, (name, kind) in enumerate(zip(names, types, strict=True), start=1):
        if not name.strip():
            raise configuration("COLUMN_WITHOUT_NAME", f"Column {number} of the query has no name: add AS name")
        if name in seen:
            raise configuration(
                "DUPLICATE_COLUMN", f'The query gives two columns the name "{name}": rename one with AS'
            )
        if kind in _LOSSY_TYPES:
            raise configuration(
                "TYPE_NOT_SUPPORTED",
                f'Column "{name}" is of type {kind}, which has no faithful form: cast it to VARCHAR',
            )
        seen.add(name)


@functools.cache
def _own_spill() -> Path:
    """Return a directory that lives as long as this process; one for all sources, as they may share an engine."""
    try:
        directory = Path(tempfile.mkdtemp(prefix="schedctl-duckdb-"))
    except OSError as error:
        raise disk_fault(error, Path(tempfile.gettempdir())) from error
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
