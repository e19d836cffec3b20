"""The calls of Bulk API 1.0 that an export makes, each one request."""

import hashlib
from typing import IO

from simple_salesforce.api import Salesforce

from exporter.failures import ExportError
from exporter.targets.salesforce.api.client import Client
from exporter.targets.salesforce.api.row_results import RowResult, read_results
from exporter.targets.salesforce.export_plan import Plan
from exporter.targets.salesforce.http.http_session import (
    LARGEST_ANSWER,
    LARGEST_LIST,
    LARGEST_RESULT,
    Answer,
    OrgSession,
)
from exporter.targets.salesforce.http.responses import (
    BatchInfo,
    BulkJobInfo,
    bulk_job_request,
    read_batch,
    read_batches,
    read_bulk_job,
    read_result_ids,
)

_XML = "application/xml; charset=UTF-8"
_CSV = "text/csv; charset=UTF-8"
LIFETIME_HOURS = 23.0
"""A BulkJob takes no batch after 24 hours (Bulk API limits); one hour is left for what is on its way."""


class Bulk1:
    """Bulk API 1.0 at one org. Every method raises ExportError; :meth:`send` raises CallError too."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, plan: Plan, concurrency: str | None = None) -> str:
        """Open a BulkJob and return its id; ``concurrency`` overrides the plan's."""
        body = bulk_job_request(
            operation=plan.operation,
            object=plan.object,
            externalIdFieldName=plan.external_id,
            concurrencyMode=concurrency or plan.concurrency,
            contentType="CSV",
        )
        return self._client.call(lambda org, s: read_bulk_job(_exchange(org, s, "POST", "job", body).content)).id

    def create_query(self, name: str) -> str:
        """Open a BulkJob for queries on the object ``name`` and return its id."""
        body = bulk_job_request(operation="query", object=name, concurrencyMode="Parallel", contentType="CSV")
        return self._client.call(lambda org, s: read_bulk_job(_exchange(org, s, "POST", "job", body).content)).id

    def send_query(self, bulk_job: str, soql: str) -> str:
        """Hand over a query and return its batch's id. Sent again if the answer is lost: it only reads."""
        path, body = f"job/{bulk_job}/batch", soql.encode()
        return self._client.call(lambda org, s: read_batch(_exchange(org, s, "POST", path, body, kind=_CSV).content)).id

    def query_results(self, bulk_job: str, batch: str) -> list[str]:
        """Return the ids of the parts of a query's result."""
        path = f"job/{bulk_job}/batch/{batch}/result"
        return self._client.call(lambda org, s: read_result_ids(_exchange(org, s, "GET", path).content))

    def store_query_result(self, bulk_job: str, batch: str, result: str, file: IO[bytes]) -> None:
        """Write one part of a query's result into ``file``, which holds nothing else afterwards."""
        path = f"job/{bulk_job}/batch/{batch}/result/{result}"

        def store(org: Salesforce, session: OrgSession) -> None:
            file.seek(0)
            file.truncate()
            session.store(f"{org.bulk_url}{path}", {"X-SFDC-Session": org.session_id}, file)

        self._client.call(store)

    def send(self, bulk_job: str, content: bytes) -> str:
        """Hand over a batch and return its id. Never sent again here if it may have arrived: raises CallError."""
        path = f"job/{bulk_job}/batch"
        return self._client.call_once(
            lambda org, s: read_batch(_exchange(org, s, "POST", path, content, kind=_CSV).content)
        ).id

    def batches(self, bulk_job: str) -> list[BatchInfo]:
        """Return all batches of a BulkJob, in one call."""
        path = f"job/{bulk_job}/batch"
        return self._client.call(
            lambda org, s: read_batches(_exchange(org, s, "GET", path, largest=LARGEST_LIST).content)
        )

    def sent_sha256(self, bulk_job: str, batch: str) -> str:
        """Return the sha256 of what a batch was sent as."""
        path = f"job/{bulk_job}/batch/{batch}/request"
        content = self._client.call(lambda org, s: _exchange(org, s, "GET", path, largest=LARGEST_LIST).content)
        return hashlib.sha256(content).hexdigest()

    def results(self, plan: Plan, bulk_job: str, batch: str, rows: int) -> list[RowResult]:
        """Return what became of each row of a batch, in row order.

        An answer that breaks off is asked for again; one that is whole may hold fewer than ``rows``, and then those
        are all that Salesforce knows of.
        """
        path = f"job/{bulk_job}/batch/{batch}/result"
        found: list[RowResult] = []
        for _ in range(2):  # an answer cut at the end of a line looks whole
            found = self._client.call(
                lambda org, s: list(
                    read_results(
                        _exchange(org, s, "GET", path, largest=LARGEST_RESULT).content,
                        unique=plan.makes_records,
                        has_ids=plan.has_ids,
                    )
                )
            )
            if len(found) == rows:
                break
        return found

    def job(self, bulk_job: str) -> tuple[BulkJobInfo, float]:
        """Return a BulkJob and its age in hours by Salesforce's own clock, 0 where that is not told."""

        def look(org: Salesforce, session: OrgSession) -> tuple[BulkJobInfo, float]:
            answer = _exchange(org, session, "GET", f"job/{bulk_job}")
            info = read_bulk_job(answer.content)
            if info.created_at is None or answer.date is None:
                return info, 0.0
            return info, (answer.date - info.created_at).total_seconds() / 3600

        return self._client.call(look)

    def end(self, bulk_job: str, state: str) -> str:
        """Bring a BulkJob to ``Closed`` or ``Aborted``, unless it is over already; return the state that it has."""
        body = bulk_job_request(state=state)
        path = f"job/{bulk_job}"
        try:
            return self._client.call(lambda org, s: read_bulk_job(_exchange(org, s, "POST", path, body).content)).state
        except ExportError as error:
            if error.code != "InvalidJobState":
                raise
            found, _ = self.job(bulk_job)
            if found.state == "Open":
                raise
            return found.state


def _exchange(
    org: Salesforce,
    session: OrgSession,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    kind: str = _XML,
    largest: int = LARGEST_ANSWER,
) -> Answer:
    headers = {"X-SFDC-Session": org.session_id}
    if body is not None:
        headers["Content-Type"] = kind
    return session.exchange(method, f"{org.bulk_url}{path}", headers=headers, body=body, largest=largest)
