"""Handing batches over, each once: the BulkJob that takes them, and what became of a sending without an answer.

One thread sends, so at most one sending at a time is of unknown fate. It is settled by looking at what the BulkJob
holds. If the batch is not there, the BulkJob is closed and looked at once more: a closed one takes nothing, so what is
not in it by then never will be, and only then are its rows sent again, to another BulkJob.
"""

import hashlib
from functools import partial

from exporter.events import Warned
from exporter.failures import internal, transient
from exporter.targets.salesforce.bulk1 import LIFETIME_HOURS, Bulk1
from exporter.targets.salesforce.codes import Verdict
from exporter.targets.salesforce.effects import Effect, Fact
from exporter.targets.salesforce.standing import Sending
from exporter.targets.salesforce.wire import CallError, Received
from exporter.targets.salesforce.work import ExportWork

_MAX_STOPS = 3
"""How many BulkJobs others may end under our hands before that is taken for their wish."""


class Sender:
    """Opens and ends BulkJobs and hands batches over. Its methods raise ExportError, or what the run's owner raises."""

    def __init__(self, work: ExportWork, bulk: Bulk1) -> None:
        self._plan = work.plan
        self._client = work.client
        self._bulk = bulk
        self._journal = work.journal
        self._standing = work.standing
        self._listen = work.listen

    def send(self, batch: int, content: bytes, rows: int) -> None:
        """Hand over ``rows`` rows of a batch; when this returns, Salesforce has them."""
        backoff = self._client.make_backoff()
        digest = hashlib.sha256(content).hexdigest()
        while True:
            bulk_job = self._standing.bulk_job or self._create()
            try:
                self._journal.do(
                    Effect.BATCH_SEND,
                    partial(self._bulk.send, bulk_job, content),
                    batch=batch,
                    bulk_job=bulk_job,
                    round=self._standing.rounds.get(batch, 0),
                    sha256=digest,
                    rows=rows,
                )
            except CallError as error:
                if error.received is Received.MAYBE:
                    if self.resolve(self._standing.sendings[batch]):
                        return
                    self._client.back_off(backoff, error)
                else:
                    self._journal.note(Fact.BATCH_ABSENT, batch=batch, unprocessed=False)
                    self._replace_job(bulk_job, error)
            else:
                return

    def resolve(self, sending: Sending) -> bool:
        """Find out whether a sending arrived, for good, and write that down."""
        found = self._find(sending)
        if found is None and sending.bulk_job not in self._standing.over:
            self.end(sending.bulk_job, Effect.JOB_CLOSE)
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

    def check_job(self) -> None:
        """Stop using the BulkJob of an earlier attempt if it takes no more batches, or soon will not."""
        bulk_job = self._standing.bulk_job
        if bulk_job is None:
            return
        info, hours = self._bulk.job(bulk_job)
        if info.state != "Open":
            self.lose_job(bulk_job, info.state)
        elif hours >= LIFETIME_HOURS:
            self.end(bulk_job, Effect.JOB_CLOSE)

    def lose_job(self, bulk_job: str, state: str) -> None:
        """Write down, and tell, that somebody else ended a BulkJob; what is left goes to another one.

        Raises transient ``BULK_JOB_STOPPED`` when that has happened too often to be an accident.
        """
        if bulk_job in self._standing.over:
            return
        self._journal.note(Fact.JOB_OVER, bulk_job=bulk_job, state=state)
        message = f"BulkJob {bulk_job} is {state}, and not by our doing"
        if self._standing.stopped_by_others >= _MAX_STOPS:
            raise transient("BULK_JOB_STOPPED", f"{message}, as others before it: cancel the run if that is meant")
        self._listen(Warned(code="BULK_JOB_STOPPED", message=f"{message}: the rest goes to a new one"))

    def end(self, bulk_job: str, effect: Effect) -> None:
        """Close or abort a BulkJob. One that is over already is fine."""
        state = "Aborted" if effect is Effect.JOB_ABORT else "Closed"
        self._journal.do(effect, lambda: self._bulk.end(bulk_job, state), bulk_job=bulk_job)

    def _create(self) -> str:
        return self._journal.do(Effect.JOB_CREATE, lambda: self._bulk.create(self._plan))

    def _replace_job(self, bulk_job: str, error: CallError) -> None:
        """Give up a BulkJob that takes no more batches; raise ``error`` if that is not why it refused one."""
        if error.rule.verdict is not Verdict.JOB_OVER:
            raise error.outward() from error
        info, _ = self._bulk.job(bulk_job)
        if info.state == "Open":
            raise error.outward() from error
        self.lose_job(bulk_job, info.state)

    def _find(self, sending: Sending) -> str | None:
        """Return the id of the batch that holds what was sent, if the BulkJob has one."""
        others = [info.id for info in self._bulk.batches(sending.bulk_job) if info.id not in self._standing.arrived]
        for batch in others:
            if self._bulk.sent_sha256(sending.bulk_job, batch) == sending.sha256:
                return batch
        if others:
            raise internal(
                "BATCH_UNKNOWN",
                f"BulkJob {sending.bulk_job} holds batch {others[0]}, which is none that we know to have sent: it "
                f"cannot be told whether batch {sending.batch} arrived, so nothing more is sent. Compare the records "
                "with the query's rows before the next run",
            )
        return None
