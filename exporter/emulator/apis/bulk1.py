"""Bulk API 1.0: BulkJobs, their batches, what became of each row."""

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from exporter.emulator.apis.bulk_query import result_content, result_ids
from exporter.emulator.bulk import bulk_jobs
from exporter.emulator.bulk.bulk_jobs import Batch, Job
from exporter.emulator.bulk.results import results_json, results_xml
from exporter.emulator.bulk.worker import Worker
from exporter.emulator.http import (
    BULK_NAMESPACE,
    RefusalError,
    Reply,
    Request,
    Route,
    bulk_refusal,
    reply_json,
    reply_xml,
    xml_tree,
)
from exporter.emulator.org.field_values import write_seconds
from exporter.emulator.org.org import USER_ID, Org
from exporter.emulator.org.record_table import MAX_BYTES, local_name, parse_xml

_KINDS = {"CSV": "text/csv", "JSON": "application/json", "XML": "application/xml"}
_MODES = {"parallel": "Parallel", "serial": "Serial", "0": "Parallel", "1": "Serial", "": "Parallel"}
"""simple-salesforce sends numbers for the words."""


class Bulk1:
    """``/services/async``."""

    def __init__(self, org: Org, worker: Worker) -> None:
        self._org = org
        self._worker = worker

    def routes(self) -> Iterable[Route]:
        """Return the paths of Bulk API 1.0."""
        root = "/services/async/{version}/job"
        yield Route(method="POST", path=root, handler=self._create)
        yield Route(method="GET", path=f"{root}/{{job}}", handler=self._show)
        yield Route(method="POST", path=f"{root}/{{job}}", handler=self._change)
        yield Route(method="POST", path=f"{root}/{{job}}/batch", handler=self._add)
        yield Route(method="GET", path=f"{root}/{{job}}/batch", handler=self._list)
        yield Route(method="GET", path=f"{root}/{{job}}/batch/{{batch}}", handler=self._batch)
        yield Route(method="GET", path=f"{root}/{{job}}/batch/{{batch}}/request", handler=self._request)
        yield Route(method="GET", path=f"{root}/{{job}}/batch/{{batch}}/result", handler=self._result)
        yield Route(method="GET", path=f"{root}/{{job}}/batch/{{batch}}/result/{{result}}", handler=self._query_result)

    def _create(self, request: Request, names: Mapping[str, str]) -> Reply:
        given = _job_fields(request)
        operation = given.get("operation", "")
        if operation not in bulk_jobs.OPERATIONS:
            raise RefusalError(400, "InvalidJob", f"Invalid operation: {operation}")
        content = given.get("contentType") or "XML"
        if content not in _KINDS:
            raise RefusalError(400, "InvalidJob", f"Unsupported content type: {content}")
        if operation in bulk_jobs.QUERIES and content == "XML":
            raise RefusalError(400, "InvalidJob", "The emulator answers queries in CSV or JSON")
        mode = _MODES.get(given.get("concurrencyMode", "").lower())
        if mode is None:
            raise RefusalError(400, "InvalidJob", f"Invalid concurrency mode: {given['concurrencyMode']}")
        each = self._org.schema.find(given.get("object", ""))
        if each is None:
            raise RefusalError(400, "InvalidJob", f"Unable to find object: {given.get('object', '')}")
        if operation == "hardDelete" and not self._org.rights.hard_delete:
            message = "hardDelete operation requires special user profile permission, please contact your administrator"
            raise RefusalError(400, "FeatureNotEnabled", message)
        key = given.get("externalIdFieldName") or None
        if (key is not None) != (operation == "upsert"):
            words = "is required" if operation == "upsert" else "can be specified only"
            raise RefusalError(400, "InvalidJob", f"External ID field {words} for upsert")
        field = each.field(key) if key else None
        if key is not None and (field is None or not field.is_key):
            message = "Provided external ID field does not exist or is not accessible"
            raise RefusalError(400, "InvalidJob", f"{message}: {key}")
        with self._org.store.writing() as db:
            job = bulk_jobs.add_job(
                db,
                self._org.now(),
                api="1",
                operation=operation,
                object=each.name,
                external_id=field.name if field else None,
                concurrency=mode,
                content=content,
                version=names["version"],
                state="Open",
            )
        return self._job_reply(request, job, [], 201)

    def _show(self, request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.reading() as db:
            job = bulk_jobs.find_job(db, names["job"], "1")
            return self._job_reply(request, job, bulk_jobs.batches_of(db, job))

    def _change(self, request: Request, names: Mapping[str, str]) -> Reply:
        """Close or abort."""
        state = _job_fields(request).get("state", "")
        if state not in {"Closed", "Aborted"}:
            raise RefusalError(400, "InvalidJobState", f"Invalid job state: {state}")
        with self._org.store.writing() as db:
            job = bulk_jobs.find_job(db, names["job"], "1")
            if job.state not in {"Open", "Closed"} or job.state == state == "Closed":
                raise RefusalError(400, "InvalidJobState", f"Cannot change the state of a job that is {job.state}")
            job = bulk_jobs.set_job_state(db, self._org.now(), job, state)
            return self._job_reply(request, job, bulk_jobs.batches_of(db, job))

    def _add(self, request: Request, names: Mapping[str, str]) -> Reply:
        packed = bulk_jobs.pack(request.body)
        with self._org.store.writing() as db:
            job = bulk_jobs.find_job(db, names["job"], "1")
            now = self._org.now()
            if job.state != "Open" or now - job.created > bulk_jobs.DAY:
                word = job.state if job.state != "Open" else "Expired"
                raise RefusalError(400, "InvalidJobState", f"{word} job cannot accept batches")
            kind = request.headers.get("content-type", "").partition(";")[0].strip()
            if kind != _KINDS[job.content]:
                message = f"Content type of batch ({kind}) does not match that of the job ({job.content})"
                raise RefusalError(400, "InvalidBatch", message)
            if not request.body:
                raise RefusalError(400, "InvalidBatch", "The batch has no content")
            if len(request.body) > MAX_BYTES:
                message = f"Exceeded size of a batch: {len(request.body)} bytes, {MAX_BYTES} are allowed"
                raise RefusalError(400, "ClientInputError", message)
            if bulk_jobs.batches_since(db, now - bulk_jobs.DAY) >= self._org.rights.batches_a_day:
                message = f"ApiBatchItems Limit exceeded: {self._org.rights.batches_a_day} batches in 24 hours"
                raise RefusalError(400, "ExceededQuota", message)
            kind = "query" if job.operation in bulk_jobs.QUERIES else "rows"
            batch = bulk_jobs.add_batch(db, now, job, packed, kind=kind)
        self._worker.wake()
        return self._batch_reply(request, job, _batch_fields(batch), 201)

    def _list(self, request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.reading() as db:
            job = bulk_jobs.find_job(db, names["job"], "1")
            batches = bulk_jobs.batches_of(db, job)
        if _as_json(request, job):
            return reply_json({"batchInfo": [_batch_fields(batch) for batch in batches]})
        root = ET.Element("batchInfoList", {"xmlns": BULK_NAMESPACE})
        root.extend(xml_tree("batchInfo", _batch_fields(batch)) for batch in batches)
        return reply_xml(root)

    def _batch(self, request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.reading() as db:
            job = bulk_jobs.find_job(db, names["job"], "1")
            batch = bulk_jobs.find_batch(db, job, names["batch"])
        return self._batch_reply(request, job, _batch_fields(batch))

    def _request(self, _request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.reading() as db:
            job = bulk_jobs.find_job(db, names["job"], "1")
            content = bulk_jobs.request_of(db, bulk_jobs.find_batch(db, job, names["batch"]))
        return Reply(body=content, kind=_KINDS[job.content])

    def _result(self, request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.reading() as db:
            job = bulk_jobs.find_job(db, names["job"], "1")
            batch = bulk_jobs.find_batch(db, job, names["batch"])
            content = bulk_jobs.result_of(db, batch)
            results = result_ids(db, batch)
        if batch.state in {"Queued", "InProgress"}:
            raise RefusalError(400, "InvalidBatch", "Batch not completed")
        if batch.kind == "query" and batch.state == "Completed":
            if _as_json(request, job):
                return reply_json(results)
            listed = ET.Element("result-list", {"xmlns": BULK_NAMESPACE})
            for result in results:
                ET.SubElement(listed, "result").text = result
            return reply_xml(listed)
        if not content:
            raise RefusalError(400, "InvalidBatch", "Records not processed")
        if job.content == "JSON":
            return reply_json(results_json(content))
        if job.content == "XML":
            return reply_xml(results_xml(content))
        return Reply(body=content, kind="text/csv")

    def _query_result(self, _request: Request, names: Mapping[str, str]) -> Reply:
        with self._org.store.reading() as db:
            job = bulk_jobs.find_job(db, names["job"], "1")
            content = result_content(db, bulk_jobs.find_batch(db, job, names["batch"]), names["result"])
        return Reply(body=content, kind=_KINDS[job.content])

    def _job_reply(self, request: Request, job: Job, batches: list[Batch], status: int = 200) -> Reply:
        fields: dict[str, Any] = {
            "id": job.id,
            "operation": job.operation,
            "object": job.object,
            "createdById": USER_ID,
            "createdDate": write_seconds(job.created),
            "systemModstamp": write_seconds(job.modified),
            "state": job.state,
            "externalIdFieldName": job.external_id,
            "concurrencyMode": job.concurrency,
            "contentType": job.content,
            **bulk_jobs.totals(batches),
            "apiVersion": float(job.version),
        }
        if _as_json(request, job):
            return reply_json(fields, status)
        return reply_xml(xml_tree("jobInfo", fields, namespace=BULK_NAMESPACE), status)

    def _batch_reply(self, request: Request, job: Job, fields: dict[str, Any], status: int = 200) -> Reply:
        if _as_json(request, job):
            return reply_json(fields, status)
        return reply_xml(xml_tree("batchInfo", fields, namespace=BULK_NAMESPACE), status)


def _as_json(request: Request, job: Job) -> bool:
    return job.content == "JSON" or (job.content != "XML" and request.wants_json())


def refuse(request: Request, error: RefusalError) -> Reply:
    """Give a refusal the form that the caller speaks."""
    return bulk_refusal(error, as_json=request.wants_json())


def _batch_fields(batch: Batch) -> dict[str, Any]:
    return {
        "id": batch.id,
        "jobId": batch.job,
        "state": batch.state,
        "stateMessage": batch.message,
        "createdDate": write_seconds(batch.created),
        "systemModstamp": write_seconds(batch.modified),
        "numberRecordsProcessed": batch.rows,
        "numberRecordsFailed": batch.failed,
        "totalProcessingTime": batch.millis,
        "apiActiveProcessingTime": batch.millis,
        "apexProcessingTime": 0,
    }


def _job_fields(request: Request) -> dict[str, str]:
    """Return the fields of a jobInfo, from JSON or XML. Raises RefusalError."""
    if "json" in request.headers.get("content-type", ""):
        try:
            return {name: str(value) for name, value in request.json().items() if value is not None}
        except (ValueError, TypeError) as error:
            raise RefusalError(400, "InvalidJob", f"The JSON cannot be read: {error}") from error
    try:
        root = parse_xml(request.body.decode("utf-8"))
    except ValueError as error:
        raise RefusalError(400, "InvalidXML", f"The XML cannot be read: {error}") from error
    return {local_name(child): (child.text or "").strip() for child in root}
