"""Bulk API 2.0, ingest: a job, one upload, and the rows accepted, refused and left over."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from exporter.emulator.bulk import bulk_jobs
from exporter.emulator.bulk.bulk_jobs import Batch, Job
from exporter.emulator.bulk.processing import DELIMITERS, ENDINGS
from exporter.emulator.bulk.results import RowResult, read_results
from exporter.emulator.bulk.worker import Worker
from exporter.emulator.http import RefusalError, Reply, Request, Route, reply_json
from exporter.emulator.org.field_values import write_seconds
from exporter.emulator.org.org import USER_ID, Org
from exporter.emulator.org.record_table import read_lines
from exporter.emulator.soql.csv_export import write_lines

API = "2"
FIRST_VERSION = 41
MAX_UPLOAD = 100_000_000
"""Bytes: 150 MB after the base64 that Salesforce applies."""
OVER = frozenset({"JobComplete", "Failed", "Aborted"})
_OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")


class Bulk2:
    """``/services/data/v…/jobs/ingest``."""

    def __init__(self, org: Org, worker: Worker) -> None:
        self._org = org
        self._worker = worker

    def routes(self) -> Iterable[Route]:
        """Return the paths of ingest."""
        root = "/services/data/v{version}/jobs/ingest"
        yield Route(method="POST", path=root, handler=self._create)
        yield Route(method="GET", path=root, handler=self._list)
        yield Route(method="GET", path=f"{root}/{{job}}", handler=self._show)
        yield Route(method="PATCH", path=f"{root}/{{job}}", handler=self._change)
        yield Route(method="DELETE", path=f"{root}/{{job}}", handler=self._delete)
        yield Route(method="PUT", path=f"{root}/{{job}}/batches", handler=self._upload)
        for name in ("successfulResults", "failedResults", "unprocessedrecords"):
            yield Route(method="GET", path=f"{root}/{{job}}/{name}", handler=self._results)

    def _create(self, request: Request, names: Mapping[str, str]) -> Reply:
        check_version(names["version"])
        given = read_body(request)
        operation, name = str(given.get("operation", "")), str(given.get("object", ""))
        if operation not in _OPERATIONS:
            raise RefusalError(400, "INVALIDJOB", f"InvalidJob : Invalid operation: {operation}")
        if given.get("contentType", "CSV") != "CSV":
            raise RefusalError(400, "INVALIDJOB", f"InvalidJob : Unsupported content type: {given['contentType']}")
        each = self._org.schema.find(name)
        if each is None:
            raise RefusalError(400, "INVALIDJOB", f"InvalidJob : Unable to find object: {name}")
        if operation == "hardDelete" and not self._org.rights.hard_delete:
            message = "hardDelete operation requires special user profile permission, please contact your administrator"
            raise RefusalError(400, "FEATURENOTENABLED", f"FeatureNotEnabled : {message}")
        key = each.field(str(given.get("externalIdFieldName", "")))
        if operation == "upsert" and (key is None or not key.is_key):
            message = "Provided external ID field does not exist or is not accessible"
            raise RefusalError(400, "INVALIDJOB", f"InvalidJob : {message}: {given.get('externalIdFieldName', '')}")
        with self._org.store.writing() as db:
            job = bulk_jobs.add_job(
                db,
                self._org.now(),
                api=API,
                operation=operation,
                object=each.name,
                external_id=key.name if key and operation == "upsert" else None,
                concurrency="Parallel",
                content="CSV",
                version=names["version"],
                state="Open",
                settings=read_settings(given),
            )
        return reply_json(show_job(job, []))

    def _list(self, _request: Request, names: Mapping[str, str]) -> Reply:
        check_version(names["version"])
        with self._org.store.reading() as db:
            shown = [show_job(job, bulk_jobs.batches_of(db, job)) for job in bulk_jobs.jobs_of(db, API)]
        return reply_json({"done": True, "records": shown, "nextRecordsUrl": None})

    def _show(self, _request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.reading() as db:
            job = find_job(db, names["job"], API)
            return reply_json(show_job(job, bulk_jobs.batches_of(db, job)))

    def _upload(self, request: Request, names: Mapping[str, str]) -> Reply:
        if len(request.body) > MAX_UPLOAD:
            raise RefusalError(413, "REQUEST_ENTITY_TOO_LARGE", f"An upload has at most {MAX_UPLOAD} bytes")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "text/csv":
            raise RefusalError(415, "UNSUPPORTED_MEDIA_TYPE", "An upload has to be text/csv")
        packed = bulk_jobs.pack(request.body)
        with self._org.store.writing() as db:
            job = find_job(db, names["job"], API)
            if job.state != "Open":
                raise RefusalError(400, "INVALIDJOBSTATE", f"InvalidJobState : Job is {job.state}")
            if bulk_jobs.batches_of(db, job):
                raise RefusalError(
                    400,
                    "BULK_API_ERROR",
                    f"Found multiple contents for job: <{job.id}>, please 'Close' / 'Abort' / 'Delete' the current Job "
                    "then create a new Job and make sure you only do 'PUT' once on a given Job.",
                )
            bulk_jobs.add_batch(db, self._org.now(), job, packed, kind="upload", state="Held")
        return Reply(status=201)

    def _change(self, request: Request, names: Mapping[str, str]) -> Reply:
        """Hand the upload over, or abort."""
        state = read_body(request).get("state")
        with self._org.store.writing() as db:
            job = find_job(db, names["job"], API)
            allowed = {"UploadComplete": {"Open"}, "Aborted": {"Open", "UploadComplete", "InProgress"}}
            if job.state not in allowed.get(str(state), set()):
                message = f"InvalidJobState : A job that is {job.state} cannot become {state}"
                raise RefusalError(400, "INVALIDJOBSTATE", message)
            batches = bulk_jobs.batches_of(db, job)
            since = self._org.now() - bulk_jobs.DAY
            if state == "UploadComplete" and bulk_jobs.batches_since(db, since) > self._org.rights.batches_a_day:
                raise RefusalError(400, "EXCEEDEDQUOTA", "ExceededQuota : ApiBatchItems Limit exceeded.")
            if state == "UploadComplete" and not batches:
                job = bulk_jobs.set_job_state(db, self._org.now(), job, "JobComplete")
            else:
                job = bulk_jobs.set_job_state(db, self._org.now(), job, str(state))
                bulk_jobs.release(db, job)
            shown = show_job(job, batches)
        self._worker.wake()
        return reply_json(shown)

    def _delete(self, _request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.writing() as db:
            drop_ended(db, find_job(db, names["job"], API))
        return Reply(status=204)

    def _results(self, request: Request, names: Mapping[str, str]) -> Reply:
        kind = request.path.rstrip("/").rpartition("/")[2]
        with self._org.store.reading() as db:
            job = find_job(db, names["job"], API)
            if job.state not in OVER:
                raise RefusalError(400, "INVALIDJOBSTATE", f"InvalidJobState : Job is {job.state}")
            contents = [
                (batch, bulk_jobs.request_of(db, batch), bulk_jobs.result_of(db, batch))
                for batch in bulk_jobs.batches_of(db, job)
            ]
        header: list[str] = []
        lines: list[list[str]] = []
        for batch, sent, result in contents:
            delimiter = DELIMITERS[job.options["columnDelimiter"]] if batch.kind == "upload" else ","
            rows = read_lines(sent.decode("utf-8-sig", errors="replace"), delimiter=delimiter)
            header = next(rows, [])
            lines += _chosen(kind, rows, list(read_results(result)) if result else None, batch, self._shuffler(batch))
        extra = {"successfulResults": ["sf__Id", "sf__Created"], "failedResults": ["sf__Id", "sf__Error"]}
        delimiter, ending = DELIMITERS[job.options["columnDelimiter"]], ENDINGS[job.options["lineEnding"]]
        body = write_lines([extra.get(kind, []) + header, *lines], delimiter=delimiter, ending=ending)
        return Reply(body=body, kind="text/csv")

    def _shuffler(self, batch: Batch) -> Callable[[list[list[str]]], None]:
        """Return what puts rows into an order of its own: Salesforce promises none, so nobody may rely on it."""
        return random.Random(f"{self._org.seed}/{batch.number}").shuffle  # noqa: S311 - no secret


def _chosen(
    kind: str,
    rows: Iterator[list[str]],
    results: list[RowResult] | None,
    batch: Batch,
    shuffle: Callable[[list[list[str]]], None],
) -> list[list[str]]:
    """Return the lines of a batch that belong into one of the three results; of a failed one, a part was processed."""
    if results is None:
        return list(rows) if kind == "unprocessedrecords" else []
    wanted = {"successfulResults": True, "failedResults": False}.get(kind)
    found: list[list[str]] = []
    for number, (row, result) in enumerate(zip(rows, results, strict=True)):
        if batch.state == "Failed" and number >= batch.rows:
            found += [row] if wanted is None else []
        elif result.success is wanted:
            found.append([result.id, str(result.created).lower() if wanted else result.error, *row])
    shuffle(found)
    return found


def check_version(text: str) -> None:
    """Refuse a version that has no Bulk API 2.0."""
    if float(text) < FIRST_VERSION:
        raise RefusalError(404, "NOT_FOUND", "The requested resource does not exist")


def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object in a body. Raises RefusalError."""
    try:
        return request.json()
    except (ValueError, TypeError) as error:
        raise RefusalError(400, "JSON_PARSER_ERROR", str(error)) from error


def read_settings(given: Mapping[str, Any]) -> str:
    """Return delimiter and line ending as kept with a job. Raises RefusalError."""
    delimiter, ending = given.get("columnDelimiter") or "COMMA", given.get("lineEnding") or "LF"
    if delimiter not in DELIMITERS or ending not in ENDINGS:
        raise RefusalError(400, "INVALIDJOB", f"InvalidJob : No such delimiter or line ending: {delimiter}, {ending}")
    return f'{{"columnDelimiter": "{delimiter}", "lineEnding": "{ending}"}}'


def find_job(db: Any, job_id: str, api: str) -> Job:  # noqa: ANN401 - a connection, as jobs takes it
    """Return a job. Raises RefusalError ``NOT_FOUND``."""
    try:
        return bulk_jobs.find_job(db, job_id, api)
    except RefusalError as error:
        raise RefusalError(404, "NOT_FOUND", "The requested resource does not exist") from error


def drop_ended(db: Any, job: Job) -> None:  # noqa: ANN401 - the same
    """Forget a job that is over. Raises RefusalError."""
    if job.state not in OVER:
        raise RefusalError(400, "INVALIDJOBSTATE", f"InvalidJobState : Job is {job.state}")
    bulk_jobs.drop_job(db, job)


def show_job(job: Job, batches: list[Batch]) -> dict[str, Any]:
    """Return a job as JSON."""
    totals = bulk_jobs.totals(batches)
    shown: dict[str, Any] = {
        "id": job.id,
        "operation": job.operation,
        "object": job.object,
        "createdById": USER_ID,
        "createdDate": write_seconds(job.created).replace("Z", "+0000"),
        "systemModstamp": write_seconds(job.modified).replace("Z", "+0000"),
        "state": job.state,
        "externalIdFieldName": job.external_id,
        "concurrencyMode": job.concurrency,
        "contentType": job.content,
        "apiVersion": float(job.version),
        **job.options,
        "jobType": "V2Ingest" if job.api == API else "V2Query",
        "retries": 0,
        "totalProcessingTime": totals["totalProcessingTime"],
        "apiActiveProcessingTime": totals["apiActiveProcessingTime"],
        "apexProcessingTime": 0,
        "numberRecordsProcessed": totals["numberRecordsProcessed"],
        "numberRecordsFailed": totals["numberRecordsFailed"],
        "errorMessage": job.message,
    }
    if job.state == "Open":
        shown["contentUrl"] = f"services/data/v{job.version}/jobs/ingest/{job.id}/batches"
    return {name: value for name, value in shown.items() if value is not None}
