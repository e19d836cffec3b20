"""Carrying batches by Bulk API 1.0: the BulkJob that takes them, and what became of a sending without an answer.

One thread sends, so at most one sending at a time is of unknown fate. It is settled by looking at what the BulkJob
holds. If the batch is not there, the BulkJob is closed and looked at once more: a closed one takes nothing, so what is
not in it by then never will be, and only then are its rows sent again, to another BulkJob.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial

from exporter.events import Warned
from exporter.failures import ExportError, internal
from exporter.targets.salesforce.api.bulk1 import LIFETIME_HOURS, Bulk1
from exporter.targets.salesforce.api.row_results import RowResult
from exporter.targets.salesforce.delivery.export_context import ExportWork
from exporter.targets.salesforce.delivery.export_state import Sending
from exporter.targets.salesforce.delivery.journal import Effect, Fact
from exporter.targets.salesforce.delivery.transport import Ending, note_stop
from exporter.targets.salesforce.http.error_codes import Verdict
from exporter.targets.salesforce.http.http_session import CallError, Received
from exporter.targets.salesforce.http.responses import BatchInfo

SERIAL_ROUND = 2
"""From this round on locked rows go to a BulkJob of their own that is serial."""
_MAX_UNSEEN = 20
_OVER = frozenset({"Completed", "Failed", "NotProcessed"})


class Bulk1Carrier:
    """Implements :class:`~.transport.Carrier`: one BulkJob at a time takes batch after batch."""

    def __init__(self, work: ExportWork) -> None:
        self._work = work
        self._plan = work.plan
        self._client = work.client
        self._bulk = Bulk1(work.client)
        self._journal = work.journal
        self._standing = work.standing
        self._listen = work.listen
        self._unseen: dict[str, int] = {}

    def resume(self) -> None:
        """Look for the batch that was on its way."""
        for sending in list(self._standing.sendings.values()):
            if sending.id is None:
                self._resolve(sending)

    def prepare(self) -> None:
        """Stop using the BulkJob of an earlier attempt if it takes no more batches, or soon will not."""
        bulk_job = self._standing.bulk_job
        if bulk_job is None:
            return
        info, hours = self._bulk.job(bulk_job)
        if info.state != "Open":
            self._lose_job(bulk_job, info.state)
        elif hours >= LIFETIME_HOURS:
            self._end(bulk_job, Effect.JOB_CLOSE)

    def send(self, batch: int, content: bytes, rows: int) -> None:
        """Hand over a batch, to a serial BulkJob if locked rows would not go in otherwise."""
        backoff = self._client.make_backoff()
        digest = hashlib.sha256(content).hexdigest()
        number = self._standing.rounds.get(batch, 0)
        while True:
            bulk_job = self._open(self._plan.concurrency if number < SERIAL_ROUND else "Serial")
            try:
                self._journal.do(
                    Effect.BATCH_SEND,
                    partial(self._bulk.send, bulk_job, content),
                    batch=batch,
                    bulk_job=bulk_job,
                    round=number,
                    sha256=digest,
                    rows=rows,
                )
            except CallError as error:
                if error.received is Received.MAYBE:
                    if self._resolve(self._standing.sendings[batch]):
                        return
                    self._client.back_off(backoff, error)
                else:
                    self._journal.note(Fact.BATCH_ABSENT, batch=batch, unprocessed=False)
                    self._replace_job(bulk_job, error)
            else:
                return

    def ended(self) -> Iterator[Ending]:
        """Ask once per BulkJob."""
        sendings = list(self._standing.sendings.values())
        for bulk_job in dict.fromkeys(sending.bulk_job for sending in sendings):
            infos = {info.id: info for info in self._bulk.batches(bulk_job)}
            for sending in sendings:
                if sending.bulk_job != bulk_job or sending.id is None:
                    continue
                info = infos.get(sending.id)
                if info is None:
                    self._miss(sending, sending.id)
                elif info.state in _OVER:
                    yield _ending(sending, info)

    def results(self, ending: Ending, content: bytes) -> Sequence[RowResult | None]:  # noqa: ARG002 - results come in row order
        """Read the results; a batch of which nothing was processed may answer that it has none."""
        sending = ending.sending
        try:
            return self._bulk.results(self._plan, sending.bulk_job, sending.id or "", sending.rows)
        except ExportError as error:
            if not ending.whole and error.code in {"InvalidBatch", "InvalidJobState"}:
                return []
            raise

    def tally(self, ending: Ending) -> Sequence[RowResult | None]:
        """Read the results: they need no content."""
        return self.results(ending, b"")

    def give_up(self, ending: Ending) -> None:
        """Use the BulkJob no more."""
        job, _ = self._bulk.job(ending.sending.bulk_job)
        self._lose_job(ending.sending.bulk_job, job.state)

    def stop(self) -> None:
        """Abort what is open."""
        for bulk_job in sorted(self._standing.unclosed):
            self._end(bulk_job, Effect.JOB_ABORT)

    def close(self) -> None:
        """Close what is open."""
        for bulk_job in sorted(self._standing.unclosed):
            try:
                self._end(bulk_job, Effect.JOB_CLOSE)
            except ExportError as error:
                message = f"BulkJob {bulk_job} could not be closed: {error.message}"
                self._listen(Warned(code=error.code, message=message))

    def _open(self, concurrency: str) -> str:
        """Return an open BulkJob of this concurrency."""
        bulk_job = self._standing.bulk_job
        if bulk_job is not None and self._standing.concurrency not in (None, concurrency):
            self._end(bulk_job, Effect.JOB_CLOSE)
            bulk_job = None
        if bulk_job is not None:
            return bulk_job
        create = partial(self._bulk.create, self._plan, concurrency)
        org = self._client.org_id()
        return self._journal.do(Effect.JOB_CREATE, create, concurrency=concurrency, org=org)

    def _resolve(self, sending: Sending) -> bool:
        """Find out whether a sending arrived, permanently, and write that down."""
        found = self._find(sending)
        if found is None and sending.bulk_job not in self._standing.over:
            self._end(sending.bulk_job, Effect.JOB_CLOSE)
            found = self._find(sending)
        if found is None:
            self._journal.note(Fact.BATCH_ABSENT, batch=sending.batch, unprocessed=False)
            return False
        self._journal.confirm(
            Effect.BATCH_SEND,
            found,
            batch=sending.batch,
            bulk_job=sending.bulk_job,
            round=sending.round,
            sha256=sending.sha256,
            rows=sending.rows,
        )
        return True

    def _find(self, sending: Sending) -> str | None:
        """Return the id of the batch that holds what was sent, if the BulkJob has one."""
        others = [info.id for info in self._bulk.batches(sending.bulk_job) if info.id not in self._standing.arrived]
        for batch in others:
            if self._bulk.sent_sha256(sending.bulk_job, batch) == sending.sha256:
                return batch
        if others:
            raise internal(
                "BATCH_UNKNOWN",
                f"BulkJob {sending.bulk_job} holds batch {others[0]}, which this run has not sent: it is "
                f"unknown whether batch {sending.batch} arrived, so nothing more is sent. Compare the records "
                "with the query's rows before the next run",
            )
        return None

    def _miss(self, sending: Sending, batch: str) -> None:
        """Wait for a batch that the list does not show yet, but not forever."""
        self._unseen[batch] = self._unseen.get(batch, 0) + 1
        if self._unseen[batch] > _MAX_UNSEEN:
            raise internal("BATCH_MISSING", f"BulkJob {sending.bulk_job} does not list batch {batch}, which it took")

    def _lose_job(self, bulk_job: str, state: str) -> None:
        if bulk_job not in self._standing.over:
            note_stop(self._work, bulk_job, state)

    def _end(self, bulk_job: str, effect: Effect) -> None:
        """Close or abort a BulkJob. One that is over already is fine."""
        state = "Aborted" if effect is Effect.JOB_ABORT else "Closed"
        self._journal.do(effect, lambda: self._bulk.end(bulk_job, state), bulk_job=bulk_job)

    def _replace_job(self, bulk_job: str, error: CallError) -> None:
        """Give up a BulkJob that takes no more batches; raise ``error`` if that is not why it refused one."""
        if error.rule.verdict is not Verdict.JOB_OVER:
            raise error.outward() from error
        info, _ = self._bulk.job(bulk_job)
        if info.state == "Open":
            raise error.outward() from error
        self._lose_job(bulk_job, info.state)


def _ending(sending: Sending, info: BatchInfo) -> Ending:
    stopped = info.state == "NotProcessed"
    return Ending(
        sending=sending,
        whole=info.state == "Completed",
        processed=0 if stopped else info.processed,
        message=info.message,
        stopped=stopped,
    )
