"""The calls of Bulk API 2.0 that an export makes, each one request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from simple_salesforce.api import Salesforce

from exporter.failures import ExportError, internal
from exporter.targets.salesforce.api.client import Client
from exporter.targets.salesforce.export_plan import Plan
from exporter.targets.salesforce.http.http_session import LARGEST_ANSWER, LARGEST_RESULT, Answer, OrgSession
from exporter.targets.salesforce.http.responses import UnreadableAnswerError, parse_json, read_id

_JSON = "application/json; charset=UTF-8"
_CSV = "text/csv"
RESULTS = ("successfulResults", "failedResults", "unprocessedrecords")


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestInfo:
    """A BulkJob: ``state`` is Open, UploadComplete, InProgress, JobComplete, Failed or Aborted.

    ``processed`` rows were looked at; ``message`` says why it failed.
    """

    id: str
    state: str
    processed: int
    message: str


class Bulk2:
    """Bulk API 2.0 at one org. Every method raises ExportError; :meth:`upload` raises CallError too."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, plan: Plan) -> str:
        """Open a BulkJob and return its id."""
        wanted = {
            "object": plan.object,
            "operation": plan.operation.value,
            "externalIdFieldName": plan.external_id,
            "contentType": "CSV",
            "lineEnding": "LF",
        }
        body = json.dumps({name: value for name, value in wanted.items() if value is not None}).encode()
        return self._client.call(lambda org, s: read_ingest(_exchange(org, s, "POST", "", body).content)).id

    def upload(self, bulk_job: str, content: bytes) -> str:
        """Store the rows of a BulkJob, once, and return its id. Nothing is done with them yet. Raises CallError."""
        path = f"/{bulk_job}/batches"
        self._client.call_once(lambda org, s: _exchange(org, s, "PUT", path, content, kind=_CSV))
        return bulk_job

    def begin(self, bulk_job: str) -> str:
        """Have Salesforce begin with the rows, unless it has; return the BulkJob's id."""
        body = json.dumps({"state": "UploadComplete"}).encode()
        try:
            self._client.call(lambda org, s: read_ingest(_exchange(org, s, "PATCH", f"/{bulk_job}", body).content))
        except ExportError as error:
            if error.code.lower() != "invalidjobstate" or self.job(bulk_job).state == "Open":
                raise
        return bulk_job

    def job(self, bulk_job: str) -> IngestInfo:
        """Return a BulkJob. Raises internal ``BULK_JOB_GONE`` if Salesforce knows it no more."""
        try:
            return self._client.call(lambda org, s: read_ingest(_exchange(org, s, "GET", f"/{bulk_job}").content))
        except ExportError as error:
            if error.code != "NOT_FOUND":
                raise
            raise internal(
                "BULK_JOB_GONE",
                f"Salesforce no longer has BulkJob {bulk_job}: it is unknown what became of its rows, so nothing is "
                "sent again. Compare the records with the query's rows before the next run",
            ) from error

    def abort(self, bulk_job: str) -> str:
        """Abort a BulkJob, unless it is over already; return its state."""
        body = json.dumps({"state": "Aborted"}).encode()
        try:
            answer = self._client.call(
                lambda org, s: read_ingest(_exchange(org, s, "PATCH", f"/{bulk_job}", body).content)
            )
        except ExportError as error:
            if error.code.lower() != "invalidjobstate":
                raise
            return self.job(bulk_job).state
        return answer.state

    def results(self, bulk_job: str, kind: str) -> bytes:
        """Return one of the three :data:`RESULTS` as CSV."""
        path = f"/{bulk_job}/{kind}"
        return self._client.call(
            lambda org, s: _exchange(org, s, "GET", path, accept=_CSV, largest=LARGEST_RESULT)
        ).content


def read_ingest(content: bytes) -> IngestInfo:
    """Read a BulkJob's JSON. Raises UnreadableAnswerError."""
    body = parse_json(content)
    if not isinstance(body, Mapping) or not isinstance(body.get("state"), str):
        raise UnreadableAnswerError("the answer is no BulkJob")
    processed = body.get("numberRecordsProcessed") or 0
    if not isinstance(processed, int):
        raise UnreadableAnswerError("the answer is no BulkJob")
    return IngestInfo(
        id=read_id(body.get("id")),
        state=body["state"],
        processed=processed,
        message=str(body.get("errorMessage") or ""),
    )


def _exchange(
    org: Salesforce,
    session: OrgSession,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    kind: str = _JSON,
    accept: str = "application/json",
    largest: int = LARGEST_ANSWER,
) -> Answer:
    headers = {"Authorization": f"Bearer {org.session_id}", "Accept": accept}
    if body is not None:
        headers["Content-Type"] = kind
    return session.exchange(method, f"{org.base_url}jobs/ingest{path}", headers=headers, body=body, largest=largest)
