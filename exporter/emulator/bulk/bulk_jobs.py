"""BulkJobs and their batches: rows of the state, and the rules of their lives. Both bulk APIs stand on it."""

import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.emulator.http import RefusalError
from exporter.emulator.org.ids import make_id, normal_id
from exporter.emulator.org.store import next_number

DAY = 86_400.0
HELD_DAYS = 7
"""Finished jobs vanish after seven days, with what was sent and what became of it."""
QUERIES = ("query", "queryAll")
OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete", *QUERIES)
_LEVEL = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A BulkJob; ``state`` is in the words of its API."""

    id: str
    api: str
    operation: str
    object: str
    external_id: str | None
    concurrency: str
    content: str
    version: str
    state: str
    message: str | None
    created: float
    modified: float
    settings: str = "{}"

    @property
    def options(self) -> dict[str, str]:
        """What Bulk API 2.0 knows of a job beyond that: ``columnDelimiter`` and ``lineEnding``."""
        found: dict[str, str] = json.loads(self.settings)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A batch without what was sent and what became of it, which may be long."""

    number: int
    id: str
    job: str
    state: str
    kind: str
    """``rows``, ``query``, or ``upload``: rows of Bulk API 2.0 that are not split into batches yet."""
    message: str | None
    created: float
    modified: float
    rows: int
    failed: int
    millis: int


_BATCH = "number, id, job, state, kind, message, created, modified, rows, failed, millis"


def add_job(db: sqlite3.Connection, now: float, **given: str | None) -> Job:
    """Write down a new BulkJob and return it; those that ended long ago are forgotten."""
    purge(db, now)
    job_id = make_id("750", next_number(db, "sys_job"))
    values = {"id": job_id, "message": None, "external_id": None, "settings": "{}", "created": now, "modified": now}
    values |= given
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    db.execute(f"INSERT INTO sys_job ({names}) VALUES ({marks})", values)  # noqa: S608 - names of ours
    return find_job(db, job_id)


def find_job(db: sqlite3.Connection, job_id: str, api: str | None = None) -> Job:
    """Return a BulkJob, of one of the APIs if that is given. Raises RefusalError ``InvalidJob``."""
    row = db.execute("SELECT * FROM sys_job WHERE id = ?", (normal_id(job_id),)).fetchone()
    if row is None or (api is not None and row["api"] != api):
        raise RefusalError(400, "InvalidJob", f"Invalid job id: {job_id}")
    return Job(**row)


def set_job_state(db: sqlite3.Connection, now: float, job: Job, state: str, message: str | None = None) -> Job:
    """Give a BulkJob its next state; aborted, its waiting batches will never be processed."""
    sql = "UPDATE sys_job SET state = ?, message = ?, modified = ? WHERE id = ?"
    db.execute(sql, (state, message, now, job.id))
    if state == "Aborted":
        sql = "UPDATE sys_batch SET state = 'NotProcessed', modified = ? WHERE job = ? AND state IN ('Queued', 'Held')"
        db.execute(sql, (now, job.id))
    return find_job(db, job.id)


def pack(content: bytes) -> bytes:
    """Compress what is to be kept."""
    return zlib.compress(content, _LEVEL)


def add_batch(
    db: sqlite3.Connection, now: float, job: Job, packed: bytes, *, kind: str = "rows", state: str = "Queued"
) -> Batch:
    """Queue a batch: from the commit on it will be processed once, whatever happens to this process.

    In state ``Held`` it waits for :func:`release`.
    """
    number = next_number(db, "sys_batch")
    batch_id = make_id("751", number)
    db.execute(
        "INSERT INTO sys_batch (number, id, job, state, kind, created, modified, request) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (number, batch_id, job.id, state, kind, now, now, packed),
    )
    return find_batch(db, job, batch_id)


def batches_since(db: sqlite3.Connection, since: float) -> int:
    """Count the batches handed over since then, in both APIs."""
    found: int = db.execute("SELECT count(*) AS n FROM sys_batch WHERE created > ?", (since,)).fetchone()["n"]
    return found


def find_batch(db: sqlite3.Connection, job: Job, batch_id: str) -> Batch:
    """Return a batch of a BulkJob. Raises RefusalError ``InvalidBatch``."""
    sql = f"SELECT {_BATCH} FROM sys_batch WHERE id = ? AND job = ?"  # noqa: S608 - names of ours
    row = db.execute(sql, (normal_id(batch_id), job.id)).fetchone()
    if row is None:
        raise RefusalError(400, "InvalidBatch", f"Invalid batch id: {batch_id}")
    return Batch(**row)


def batches_of(db: sqlite3.Connection, job: Job) -> list[Batch]:
    """Return a BulkJob's batches in the order they came."""
    sql = f"SELECT {_BATCH} FROM sys_batch WHERE job = ? ORDER BY number"  # noqa: S608 - names of ours
    return [Batch(**row) for row in db.execute(sql, (job.id,))]


def totals(batches: Sequence[Batch]) -> Mapping[str, int]:
    """Return the counters that a BulkJob shows of its batches."""
    states = [batch.state for batch in batches]
    return {
        "numberBatchesQueued": states.count("Queued"),
        "numberBatchesInProgress": states.count("InProgress"),
        "numberBatchesCompleted": states.count("Completed"),
        "numberBatchesFailed": states.count("Failed"),
        "numberBatchesTotal": len(batches),
        "numberRecordsProcessed": sum(batch.rows for batch in batches),
        "numberRetries": 0,
        "numberRecordsFailed": sum(batch.failed for batch in batches),
        "totalProcessingTime": sum(batch.millis for batch in batches),
        "apiActiveProcessingTime": sum(batch.millis for batch in batches),
        "apexProcessingTime": 0,
    }


def request_of(db: sqlite3.Connection, batch: Batch) -> bytes:
    """Return what was sent as a batch, byte for byte."""
    return _content(db, batch, "request")


def result_of(db: sqlite3.Connection, batch: Batch) -> bytes:
    """Return what became of a batch's rows, as CSV."""
    return _content(db, batch, "result")


def _content(db: sqlite3.Connection, batch: Batch, column: str) -> bytes:
    sql = f"SELECT {column} AS content FROM sys_batch WHERE number = ?"  # noqa: S608 - names of ours
    found = db.execute(sql, (batch.number,)).fetchone()["content"]
    return zlib.decompress(found) if found is not None else b""


def take_batch(db: sqlite3.Connection, now: float) -> Batch | None:
    """Begin the oldest batch that may begin: those of a serial BulkJob go one after the other."""
    columns = ", ".join(f"b.{name}" for name in _BATCH.split(", "))
    sql = (
        f"SELECT {columns} FROM sys_batch b JOIN sys_job j ON j.id = b.job "  # noqa: S608 - names of ours
        "WHERE b.state = 'Queued' AND (j.concurrency = 'Parallel' OR NOT EXISTS ("
        "SELECT 1 FROM sys_batch o WHERE o.state = 'InProgress' AND o.job = b.job)) ORDER BY b.number LIMIT 1"
    )
    row = db.execute(sql).fetchone()
    if row is None:
        return None
    db.execute("UPDATE sys_batch SET state = 'InProgress', modified = ? WHERE number = ?", (now, row["number"]))
    db.execute("UPDATE sys_job SET state = 'InProgress' WHERE id = ? AND state = 'UploadComplete'", (row["job"],))
    return Batch(**row)


def release(db: sqlite3.Connection, job: Job) -> None:
    """Queue what a job holds back."""
    db.execute("UPDATE sys_batch SET state = 'Queued' WHERE job = ? AND state = 'Held'", (job.id,))


def is_busy(db: sqlite3.Connection, job: Job) -> bool:
    """Whether batches of a job are waiting or under way."""
    sql = "SELECT 1 FROM sys_batch WHERE job = ? AND state IN ('Queued', 'InProgress', 'Held')"
    return db.execute(sql, (job.id,)).fetchone() is not None


def drop_batch(db: sqlite3.Connection, batch: Batch) -> None:
    """Forget a batch."""
    db.execute("DELETE FROM sys_batch WHERE number = ?", (batch.number,))


def drop_job(db: sqlite3.Connection, job: Job) -> None:
    """Forget a job with all of its batches."""
    db.execute("DELETE FROM sys_piece WHERE batch IN (SELECT number FROM sys_batch WHERE job = ?)", (job.id,))
    db.execute("DELETE FROM sys_batch WHERE job = ?", (job.id,))
    db.execute("DELETE FROM sys_job WHERE id = ?", (job.id,))


def add_pieces(db: sqlite3.Connection, batch: Batch, pieces: Sequence[tuple[int, bytes]]) -> None:
    """Keep the result of a query: pieces with the number of their records, packed."""
    db.executemany(
        "INSERT INTO sys_piece (batch, number, rows, content) VALUES (?, ?, ?, ?)",
        ((batch.number, number, rows, content) for number, (rows, content) in enumerate(pieces)),
    )


def piece_sizes(db: sqlite3.Connection, batch: Batch) -> list[int]:
    """Return the number of records in each piece of a query's result."""
    sql = "SELECT rows FROM sys_piece WHERE batch = ? ORDER BY number"
    return [row["rows"] for row in db.execute(sql, (batch.number,))]


def piece(db: sqlite3.Connection, batch: Batch, number: int) -> bytes | None:
    """Return a piece of a query's result; None if there is none of that number."""
    sql = "SELECT content FROM sys_piece WHERE batch = ? AND number = ?"
    row = db.execute(sql, (batch.number, number)).fetchone()
    return zlib.decompress(row["content"]) if row is not None else None


def jobs_of(db: sqlite3.Connection, api: str) -> list[Job]:
    """Return the jobs of one API, the oldest first."""
    return [Job(**row) for row in db.execute("SELECT * FROM sys_job WHERE api = ? ORDER BY id", (api,))]


def settle_batch(
    db: sqlite3.Connection,
    now: float,
    batch: Batch,
    *,
    state: str,
    message: str | None = None,
    rows: int = 0,
    failed: int = 0,
    millis: int = 0,
    result: bytes | None = None,
) -> None:
    """Write down how a batch ended, in the transaction that writes its records."""
    db.execute(
        "UPDATE sys_batch SET state = ?, message = ?, modified = ?, rows = ?, failed = ?, millis = ?, result = ? "
        "WHERE number = ?",
        (state, message, now, rows, failed, millis, pack(result) if result else None, batch.number),
    )


def requeue(db: sqlite3.Connection) -> None:
    """Put back what an emulator had begun when it was killed: nothing of it was committed."""
    db.execute("UPDATE sys_batch SET state = 'Queued' WHERE state = 'InProgress'")


def purge(db: sqlite3.Connection, now: float) -> int:
    """Remove jobs that ended more than seven days ago; return how many."""
    sql = "SELECT * FROM sys_job WHERE state NOT IN ('Open', 'UploadComplete', 'InProgress') AND modified < ?"
    ended = [Job(**row) for row in db.execute(sql, (now - HELD_DAYS * DAY,))]
    for job in ended:
        drop_job(db, job)
    return len(ended)
