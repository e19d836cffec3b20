"""Bulk queries: jobs of Bulk API 2.0, and the results of those of 1.0."""

import sqlite3
from collections.abc import Iterable, Mapping

from exporter.emulator.apis.bulk2 import OVER, check_version, drop_ended, find_job, read_body, read_settings, show_job
from exporter.emulator.bulk import bulk_jobs
from exporter.emulator.bulk.bulk_jobs import Job
from exporter.emulator.bulk.processing import DELIMITERS, ENDINGS
from exporter.emulator.bulk.worker import Worker
from exporter.emulator.http import RefusalError, Reply, Request, Route, reply_json
from exporter.emulator.org.org import Org
from exporter.emulator.org.record_table import BatchError, read_lines
from exporter.emulator.soql.csv_export import compile_bulk, write_lines

API = "2q"


class BulkQuery:
    """``/services/data/v…/jobs/query``."""

    def __init__(self, org: Org, worker: Worker) -> None:
        self._org = org
        self._worker = worker

    def routes(self) -> Iterable[Route]:
        """Return the paths of query jobs."""
        root = "/services/data/v{version}/jobs/query"
        yield Route(method="POST", path=root, handler=self._create)
        yield Route(method="GET", path=f"{root}/{{job}}", handler=self._show)
        yield Route(method="PATCH", path=f"{root}/{{job}}", handler=self._abort)
        yield Route(method="DELETE", path=f"{root}/{{job}}", handler=self._delete)
        yield Route(method="GET", path=f"{root}/{{job}}/results", handler=self._results)

    def _create(self, request: Request, names: Mapping[str, str]) -> Reply:
        check_version(names["version"])
        given = read_body(request)
        operation, text = str(given.get("operation", "")), str(given.get("query", ""))
        if operation not in {"query", "queryAll"}:
            raise RefusalError(400, "INVALIDJOB", f"InvalidJob : Invalid operation: {operation}")
        try:
            compiled = compile_bulk(self._org, text, deleted_too=operation == "queryAll")
        except BatchError as error:
            raise RefusalError(400, "API_ERROR", str(error).partition("Failed to process query: ")[2]) from error
        now = self._org.now()
        with self._org.store.writing() as db:
            job = bulk_jobs.add_job(
                db,
                now,
                api=API,
                operation=operation,
                object=compiled.parents[0][1].name,
                concurrency="Parallel",
                content="CSV",
                version=names["version"],
                state="UploadComplete",
                settings=read_settings(given),
            )
            bulk_jobs.add_batch(db, now, job, bulk_jobs.pack(text.encode()), kind="query")
        self._worker.wake()
        return reply_json(show_job(job, []))

    def _show(self, _request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.reading() as db:
            job = find_job(db, names["job"], API)
            return reply_json(show_job(job, bulk_jobs.batches_of(db, job)))

    def _abort(self, request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.writing() as db:
            job = find_job(db, names["job"], API)
            if read_body(request).get("state") != "Aborted" or job.state in OVER:
                raise RefusalError(400, "INVALIDJOBSTATE", f"InvalidJobState : Job is {job.state}")
            job = bulk_jobs.set_job_state(db, self._org.now(), job, "Aborted")
            return reply_json(show_job(job, bulk_jobs.batches_of(db, job)))

    def _delete(self, _request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.writing() as db:
            drop_ended(db, find_job(db, names["job"], API))
        return Reply(status=204)

    def _results(self, request: Request, names: Mapping[str, str]) -> Reply:
        """Answer with the records from a locator (``piece-row``) on, at most ``maxRecords`` of them, and the next."""
        with self._org.store.reading() as db:
            job = find_job(db, names["job"], API)
            if job.state != "JobComplete":
                raise RefusalError(400, "INVALIDJOBSTATE", f"InvalidJobState : Job is {job.state}")
            [batch] = bulk_jobs.batches_of(db, job)
            sizes = bulk_jobs.piece_sizes(db, batch)
            number, start, most = _place(request.query, sizes)
            lines = _lines(db, job, number)
        header, rows = lines[0], lines[1:][start : start + most]
        end = start + len(rows)
        locator = f"{number}-{end}" if end < sizes[number] else f"{number + 1}-0"
        if end >= sizes[number] and number + 1 == len(sizes):
            locator = "null"
        delimiter, ending = DELIMITERS[job.options["columnDelimiter"]], ENDINGS[job.options["lineEnding"]]
        headers = {"Sforce-Locator": locator, "Sforce-NumberOfRecords": str(len(rows))}
        body = write_lines([header, *rows], delimiter=delimiter, ending=ending)
        return Reply(body=body, kind="text/csv", headers=headers)


def _place(query: Mapping[str, str], sizes: list[int]) -> tuple[int, int, int]:
    """Return the piece, the row in it and the most rows that a request asks for. Raises RefusalError."""
    number, _, start = query.get("locator", "0-0").partition("-")
    most = query.get("maxRecords", "1000000")
    if not (number.isdecimal() and start.isdecimal() and int(number) < len(sizes)):
        raise RefusalError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    if not most.isdecimal() or int(most) == 0:
        raise RefusalError(400, "INVALID_ARGUMENT", f"maxRecords cannot be {most}")
    return int(number), int(start), int(most)


def _lines(db: sqlite3.Connection, job: Job, number: int) -> list[list[str]]:
    [batch] = bulk_jobs.batches_of(db, job)
    return list(read_lines((bulk_jobs.piece(db, batch, number) or b"").decode()))


def result_ids(db: sqlite3.Connection, batch: bulk_jobs.Batch) -> list[str]:
    """Return the names of a Bulk API 1.0 query's results."""
    return [f"752{batch.id[3:12]}{number:06d}" for number in range(len(bulk_jobs.piece_sizes(db, batch)))]


def result_content(db: sqlite3.Connection, batch: bulk_jobs.Batch, name: str) -> bytes:
    """Return a result of a Bulk API 1.0 query. Raises RefusalError."""
    names = result_ids(db, batch)
    if name not in names:
        raise RefusalError(400, "InvalidBatch", f"Invalid result id: {name}")
    return bulk_jobs.piece(db, batch, names.index(name)) or b""
