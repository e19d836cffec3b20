"""What the org does with one queued batch: rows to write, an upload to split, a query to answer."""

import sqlite3
import time
from itertools import islice

from exporter.emulator.bulk import bulk_jobs
from exporter.emulator.bulk.bulk_jobs import Batch, Job
from exporter.emulator.bulk.results import write_results
from exporter.emulator.fault_injection import FaultBox
from exporter.emulator.org.org import Org
from exporter.emulator.org.record_table import MAX_ROWS, BatchError, read_lines, read_table
from exporter.emulator.org.relationship_binding import bind_header
from exporter.emulator.org.writing import Instruction, write
from exporter.emulator.soql.csv_export import compile_bulk, export, write_lines

DELIMITERS = {"COMMA": ",", "TAB": "\t", "SEMICOLON": ";", "PIPE": "|", "CARET": "^", "BACKQUOTE": "`"}
ENDINGS = {"LF": "\n", "CRLF": "\r\n"}


class Processor:
    """Carries out batches. What one changes is one transaction: a killed emulator leaves it done or untouched."""

    def __init__(self, org: Org, faults: FaultBox) -> None:
        self._org = org
        self._faults = faults

    def carry_out(self, batch: Batch) -> None:
        """Process a batch that was begun; whatever goes wrong with it is its result."""
        try:
            with self._org.store.reading() as db:
                job = bulk_jobs.find_job(db, batch.job)
                content = bulk_jobs.request_of(db, batch)
            if batch.kind == "upload":
                self._split(job, batch, content)
            elif batch.kind == "query":
                self._query(job, batch, content)
            else:
                self._write(job, batch, content)
        except BatchError as error:
            self._fail(batch, str(error))
        except Exception as error:  # noqa: BLE001 - the outer frame of a batch: it must not end the others
            self._fail(batch, f"InternalServerError : {type(error).__name__}: {error}")

    def _write(self, job: Job, batch: Batch, content: bytes) -> None:
        begun = time.perf_counter()
        table = read_table(content, job.content)
        befallen = self._faults.take_rows(job.object, table)
        with self._org.desk() as desk:
            outcome = write(desk, self._instruction(job), table, befallen.errors)
            rows = befallen.processed if befallen.message else table.rows
            bulk_jobs.settle_batch(
                desk.db,
                self._org.now(),
                batch,
                state="Failed" if befallen.message else "Completed",
                message=befallen.message or None,
                rows=rows,
                failed=sum(row < rows for row in outcome.errors),
                millis=round((time.perf_counter() - begun) * 1000),
                result=write_results(outcome.ids, outcome.created, outcome.errors),
            )
            if befallen.message:
                self._fail_job(desk.db, job, befallen.message)
            else:
                self._finish(desk.db, job)

    def _instruction(self, job: Job) -> Instruction:
        each = self._org.object(job.object)
        key = each.field(job.external_id) if job.external_id else None
        return Instruction(object=each, operation=job.operation, key=key)

    def _split(self, job: Job, batch: Batch, content: bytes) -> None:
        """Turn an upload of Bulk API 2.0 into batches of 10,000 rows. Raises BatchError, which fails the job."""
        settings = job.options
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BatchError("ClientInputError : The upload is not valid UTF-8") from error
        end = text.find("\n")
        found = "CRLF" if text[end - 1 : end] == "\r" else "LF"
        if end >= 0 and found != settings["lineEnding"]:
            current = f"Current LineEnding setting is {settings['lineEnding']}"
            raise BatchError(f"ClientInputError : LineEnding is invalid on user data. {current}")
        lines = read_lines(text, delimiter=DELIMITERS[settings["columnDelimiter"]])
        header = next(lines, None)
        if header is None:
            raise BatchError("InvalidBatch : The upload is empty")
        bind_header(self._org.schema, self._org.object(job.object), header)
        now = self._org.now()
        with self._org.store.writing() as db:
            if bulk_jobs.find_job(db, job.id).state != "InProgress":
                return  # it was aborted meanwhile
            while rows := list(islice(lines, MAX_ROWS)):
                bulk_jobs.add_batch(db, now, job, bulk_jobs.pack(write_lines([header, *rows])))
            bulk_jobs.drop_batch(db, batch)
            self._finish(db, job)

    def _query(self, job: Job, batch: Batch, content: bytes) -> None:
        begun = time.perf_counter()
        self._faults.take_query(job.object)
        compiled = compile_bulk(self._org, content.decode(), deleted_too=job.operation == "queryAll")
        with self._org.store.reading() as db:
            pieces = [(rows, bulk_jobs.pack(data)) for rows, data in export(db, compiled, job.content, job.version)]
        with self._org.store.writing() as db:
            bulk_jobs.add_pieces(db, batch, pieces)
            bulk_jobs.settle_batch(
                db,
                self._org.now(),
                batch,
                state="Completed",
                rows=sum(rows for rows, _ in pieces),
                millis=round((time.perf_counter() - begun) * 1000),
            )
            self._finish(db, job)

    def _fail(self, batch: Batch, message: str) -> None:
        with self._org.store.writing() as db:
            job = bulk_jobs.find_job(db, batch.job)
            bulk_jobs.settle_batch(db, self._org.now(), batch, state="Failed", message=message)
            self._fail_job(db, job, message)

    def _fail_job(self, db: sqlite3.Connection, job: Job, message: str) -> None:
        """Have a job of Bulk API 2.0 fail with a batch of it; one of 1.0 goes on."""
        if job.api != "1" and bulk_jobs.find_job(db, job.id).state == "InProgress":
            bulk_jobs.set_job_state(db, self._org.now(), job, "Failed", message)

    def _finish(self, db: sqlite3.Connection, job: Job) -> None:
        """Complete a job of Bulk API 2.0 with its last batch; a job of 1.0 is its owner's to end."""
        current = bulk_jobs.find_job(db, job.id)
        if job.api != "1" and current.state == "InProgress" and not bulk_jobs.is_busy(db, job):
            bulk_jobs.set_job_state(db, self._org.now(), current, "JobComplete")
