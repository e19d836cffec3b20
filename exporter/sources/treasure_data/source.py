"""Treasure Data as a source: a query is a job there, which outlives our calls, our process and our machine.

Each job is issued with a domain key made of the query and of who asks (``Query.identity``). Treasure Data takes one job
per key, so an answer that was lost, or a process that was killed, leads back to the job that was issued already. The
result is downloaded to an unnamed temporary file, because a broken download goes on where it stopped, and then read
from there in bounded memory.
"""

import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

import pyarrow as pa
from pydantic import SecretStr

from exporter.failures import ExportError, FailureKind, internal
from exporter.host.durable_files import disk_fault
from exporter.settings.treasure_data import TreasureDataConnection
from exporter.sources.shared.result_columns import check_names
from exporter.sources.source import Query
from exporter.sources.treasure_data.client import JobExistsError, TreasureData
from exporter.sources.treasure_data.errors import job_fault, job_killed, query_canceled
from exporter.sources.treasure_data.literals import write_query
from exporter.sources.treasure_data.result_rows import ResultColumn, read_batches, result_columns, result_schema
from exporter.sql.one_select import no_select

_FIRST_POLL = 0.1
_LONGEST_POLL = 20.0
"""Seconds between two looks at a job: they double from the first to the longest."""
_LONGEST_WAIT = 120.0
_KILL_TRIES = 3
_MOST_JOBS = 1000
"""Jobs that one identity may have: one for each time that the one before failed or was killed."""
_NAMESPACE = uuid.UUID("6f2d3f3c-5c1e-4c51-9a57-0d7e6f0c9b1a")
_ENDED = frozenset({"success", "error", "killed"})

Result = TypeVar("Result")


class TreasureDataSource:
    """One database of Treasure Data; implements :class:`~exporter.sources.source.Source` and its ``leave``.

    One read at a time. Results lie in ``spill`` while they are read, by default the system's temporary directory.
    """

    def __init__(self, settings: TreasureDataConnection, *, spill: Path | None = None) -> None:
        self._settings = settings
        self._spill = spill
        self._stopped = threading.Event()
        self._left = False
        self._lock = threading.Lock()
        self._open: TreasureData | None = None

    @contextmanager
    def read(self, query: Query, *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """Run the one SELECT of ``query`` as a job and stream its rows; see the protocol. Parameters are ``$name``."""
        self._stopped.clear()
        self._left = False
        sql = write_query(query.sql, query.parameters, engine=self._settings.engine)
        with self._client() as client, self._file() as file:
            job_id = self._run(client, sql, query)
            about = self._patiently(lambda: client.show(job_id))
            columns = result_columns(about["hive_result_schema"])
            if not columns:
                raise no_select(sql)
            check_names(column.name for column in columns)
            self._download(client, job_id, file)
            file.seek(0)
            records = about["num_records"] if isinstance(about["num_records"], int) else None
            batches = self._batches(file, columns, records, batch_rows)
            yield pa.RecordBatchReader.from_batches(result_schema(columns), batches)

    def cancel(self) -> None:
        """Stop a query that another thread is reading, and kill its job; it raises ``QUERY_CANCELED`` there."""
        self._stop()

    def leave(self) -> None:
        """Stop reading as :meth:`cancel` does, but let the job go on for whoever reads with the same identity."""
        self._left = True
        self._stop()

    def _stop(self) -> None:
        with self._lock:
            self._stopped.set()
            client = self._open
        if client is not None:
            client.stop()

    def check(self) -> None:
        """Raise if the key, the endpoint or the database is wrong, or nobody answers."""
        self._stopped.clear()
        with self._client() as client:
            self._patiently(client.check)

    def _run(self, client: TreasureData, sql: str, query: Query) -> str:
        """Issue the job, or find the one that was issued, and wait for its end; returns its id."""
        job_id = self._begin(client, sql, query)
        try:
            status = self._wait(client, job_id)
        except BaseException:
            if self._ends_the_job(resumable=query.identity is not None):
                self._kill(lambda _client: job_id)
            raise
        if status == "error":
            raise job_fault(job_id, self._patiently(lambda: client.show(job_id))["debug"])
        if status == "killed":
            raise query_canceled() if self._stopped.is_set() else job_killed(job_id)
        return job_id

    def _begin(self, client: TreasureData, sql: str, query: Query) -> str:
        """Return the job of this query's identity, issued now or before; one that failed is followed by another."""
        settings = self._settings
        identity = query.identity or uuid.uuid4().hex
        options: dict[str, object] = {"priority": settings.priority, "retry_limit": settings.query_retry_limit}
        if query.scheduled_time is not None:
            options["scheduled_time"] = str(int(query.scheduled_time.timestamp()))
        for number in range(_MOST_JOBS):
            parts = (identity, settings.engine, settings.database, sql, str(number))
            key = str(uuid.uuid5(_NAMESPACE, "\0".join(parts)))
            job_id = self._issue(client, sql, key, options, resumable=query.identity is not None)
            if job_id is not None:
                return job_id
        raise internal("TOO_MANY_JOBS", f"{_MOST_JOBS} jobs of this run have failed at Treasure Data")

    def _issue(
        self, client: TreasureData, sql: str, key: str, options: Mapping[str, object], *, resumable: bool
    ) -> str | None:
        """Return the job of this domain key, or None if it is one from before that failed or was killed."""
        sent = 0

        def once() -> str | None:
            nonlocal sent
            sent += 1
            try:
                return client.issue(sql, engine=self._settings.engine, domain_key=key, options=options)
            except JobExistsError as found:
                job_id = found.job_id or client.job_of(key)
            is_ours = sent > 1  # an answer was lost a moment ago
            return job_id if is_ours or client.status(job_id) not in {"error", "killed"} else None

        try:
            return self._patiently(once)
        except ExportError as error:
            if sent and error.kind is FailureKind.TRANSIENT and self._ends_the_job(resumable=resumable):
                self._kill(lambda other: other.job_of(key))  # there may be none
            raise

    def _ends_the_job(self, *, resumable: bool) -> bool:
        """Whether a job that we stop waiting for has to end: it was canceled, or nobody could take it up."""
        return not resumable or (self._stopped.is_set() and not self._left)

    def _wait(self, client: TreasureData, job_id: str) -> str:
        delay = _FIRST_POLL
        while True:
            status = self._patiently(lambda: client.status(job_id))
            if status in _ENDED:
                return status
            self._pause(delay)
            delay = min(delay * 2, _LONGEST_POLL)

    def _download(self, client: TreasureData, job_id: str, file: IO[bytes]) -> None:
        """Get the whole result; every piece that comes makes the tries count from the first again."""
        tries, size = 0, 0
        while True:
            try:
                with self._disk():
                    for _ in client.download(job_id, file):
                        self._check()
            except ExportError as error:
                tries, size = (tries + 1 if file.tell() <= size else 1), file.tell()
                self._wait_for_retry(error, tries)
            else:
                return

    def _patiently(self, call: Callable[[], Result]) -> Result:
        """Make a call again, with doubling waits, while it fails for a passing reason and tries are left."""
        tries = 0
        while True:
            self._check()
            try:
                return call()
            except ExportError as error:
                tries += 1
                self._wait_for_retry(error, tries)

    def _wait_for_retry(self, error: ExportError, tries: int) -> None:
        """Wait before the next try, or raise ``error`` if none is left or none can help."""
        if error.kind is not FailureKind.TRANSIENT or tries > self._settings.retry_limit or self._stopped.is_set():
            raise query_canceled() if self._stopped.is_set() else error
        wait = self._settings.initial_retry_delay * 2.0 ** (tries - 1)
        self._pause(min(max(wait, error.retry_after or 0.0), _LONGEST_WAIT))

    def _pause(self, seconds: float) -> None:
        self._stopped.wait(seconds)
        self._check()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise query_canceled()

    def _kill(self, find_job: Callable[[TreasureData], str]) -> None:
        """Kill a job, as well as that can be done: the run ends whether or not its server hears of it."""
        for _ in range(_KILL_TRIES):
            with suppress(ExportError), self._client(to_end=True) as client:  # the run's own takes no calls any more
                client.kill(find_job(client))
                return

    def _batches(
        self, file: IO[bytes], columns: list[ResultColumn], records: int | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        batches = read_batches(file, columns, records=records, batch_rows=batch_rows)
        while True:
            self._check()
            with self._disk():
                batch = next(batches, None)
            if batch is None:
                return
            self._check()
            yield batch

    @contextmanager
    def _client(self, *, to_end: bool = False) -> Iterator[TreasureData]:
        settings = self._settings
        if not isinstance(settings.api_key, SecretStr):
            raise internal("SECRET_UNRESOLVED", "a secret of the connection is a reference that nobody has looked up")
        client = TreasureData(
            settings.api_key.get_secret_value(), endpoint=settings.endpoint, database=settings.database, to_end=to_end
        )
        with closing(client):
            if to_end:
                yield client
                return
            with self._lock:
                self._open = client
                if self._stopped.is_set():
                    client.stop()
            try:
                yield client
            finally:
                with self._lock:
                    self._open = None

    @contextmanager
    def _file(self) -> Iterator[IO[bytes]]:
        with self._disk():
            file = tempfile.TemporaryFile(dir=self._spill)  # noqa: SIM115 - closed below: what the block raises is not ours
        with file:
            yield file

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_fault(error, self._spill or Path(tempfile.gettempdir())) from error
