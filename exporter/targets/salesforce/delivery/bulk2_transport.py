"""Carrying batches by Bulk API 2.0: a BulkJob for each, which starts when all rows are uploaded.

So an answer that is lost is never dangerous: before that call nothing has happened, and the call itself can be made
again, for a BulkJob begins once. Results come in any order and without numbers: see :mod:`.match_results`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial

from exporter.events import Warned
from exporter.failures import ExportError, internal
from exporter.targets.salesforce.api.bulk2 import RESULTS, Bulk2
from exporter.targets.salesforce.api.row_results import RowResult
from exporter.targets.salesforce.delivery.export_context import ExportWork
from exporter.targets.salesforce.delivery.journal import Effect
from exporter.targets.salesforce.delivery.match_results import UnmatchedError, match_results, read_all
from exporter.targets.salesforce.delivery.transport import Ending, note_stop
from exporter.targets.salesforce.http.error_codes import Verdict
from exporter.targets.salesforce.http.http_session import CallError, Received

_GOING = 2
"""BulkJobs that go on, after which the younger ones are not asked for."""
_OVER = frozenset({"JobComplete", "Failed", "Aborted"})


class Bulk2Carrier:
    """Implements :class:`~.transport.Carrier`: each sending is a BulkJob of its own, whose id is the sending's too."""

    def __init__(self, work: ExportWork) -> None:
        self._work = work
        self._client = work.client
        self._bulk = Bulk2(work.client)
        self._journal = work.journal
        self._standing = work.standing
        self._aborted: set[str] = set()

    def resume(self) -> None:
        """Have the BulkJob begin that was about to, which it does once, however often it is asked; drop the others."""
        for sending in list(self._standing.sendings.values()):
            if sending.id is None:
                self._bulk.begin(sending.bulk_job)
                self._journal.confirm(
                    Effect.BATCH_SEND,
                    sending.bulk_job,
                    batch=sending.batch,
                    bulk_job=sending.bulk_job,
                    round=sending.round,
                    sha256=sending.sha256,
                    rows=sending.rows,
                )
        self._drop_open()

    def prepare(self) -> None:
        """Do nothing: every batch gets a BulkJob of its own."""

    def send(self, batch: int, content: bytes, rows: int) -> None:
        """Open a BulkJob, store the rows in it, and have it begin."""
        backoff = self._client.make_backoff()
        while True:
            create = partial(self._bulk.create, self._work.plan)
            bulk_job = self._journal.do(Effect.JOB_CREATE, create, batch=batch, org=self._client.org_id())
            try:
                upload = partial(self._bulk.upload, bulk_job, content)
                self._journal.do(Effect.BATCH_UPLOAD, upload, batch=batch, bulk_job=bulk_job)
            except CallError as error:
                self._drop_open()
                if error.rule.verdict is Verdict.JOB_OVER:
                    note_stop(self._work, bulk_job, "Aborted")
                elif error.received is Received.NO:
                    raise error.outward() from error
                else:
                    self._client.back_off(backoff, error)
            else:
                break
        self._journal.do(
            Effect.BATCH_SEND,
            partial(self._bulk.begin, bulk_job),
            batch=batch,
            bulk_job=bulk_job,
            round=self._standing.rounds.get(batch, 0),
            sha256=hashlib.sha256(content).hexdigest(),
            rows=rows,
        )

    def ended(self) -> Iterator[Ending]:
        """Ask for one BulkJob after the other, but not for all while the oldest ones still go on: each is a call."""
        going = 0
        for sending in list(self._standing.sendings.values()):
            if sending.id is None or going >= _GOING:
                continue
            info = self._bulk.job(sending.bulk_job)
            going += info.state not in _OVER
            if info.state in _OVER:
                yield Ending(
                    sending=sending,
                    whole=info.state == "JobComplete",
                    processed=info.processed,
                    message=info.message,
                    stopped=info.state == "Aborted",
                )

    def results(self, ending: Ending, content: bytes) -> Sequence[RowResult | None]:
        """Read the three results and find for each line the row that it speaks of."""
        try:
            found = self._match(ending, content)
        except UnmatchedError:
            try:
                found = self._match(ending, content)  # an answer cut at the end of a line looks whole
            except UnmatchedError as error:
                raise internal(
                    "ROWS_UNACCOUNTED",
                    f"the results of BulkJob {ending.sending.bulk_job} do not fit the {ending.sending.rows} rows that "
                    f"it was sent ({error}): it is unknown which rows were accepted, so nothing is sent again. Look at "
                    "the BulkJob under Setup, Bulk Data Load Jobs",
                ) from error
        return found

    def _match(self, ending: Ending, content: bytes) -> Sequence[RowResult | None]:
        parts = [self._bulk.results(ending.sending.bulk_job, kind) for kind in RESULTS]
        plan = self._work.plan
        found = match_results(content, *parts, key=plan.row_key, unique=plan.makes_records, has_ids=plan.has_ids)
        if any(result is not None for result in found):
            return found
        if ending.whole or ending.processed:
            raise UnmatchedError("there are none, but rows were processed")
        return []

    def tally(self, ending: Ending) -> Sequence[RowResult | None]:
        """Read the three results, line by line; a result that cannot be read tells nothing."""
        parts = [self._bulk.results(ending.sending.bulk_job, kind) for kind in RESULTS]
        try:
            plan = self._work.plan
            return list(read_all(*parts, unique=plan.makes_records, has_ids=plan.has_ids))
        except UnmatchedError:
            return []

    def give_up(self, ending: Ending) -> None:
        """Take note that others aborted a BulkJob; an earlier attempt of this run may have, too."""
        if ending.sending.bulk_job not in self._aborted | self._standing.over:
            note_stop(self._work, ending.sending.bulk_job, "Aborted")

    def stop(self) -> None:
        """Abort what is open and what goes on."""
        going = [sending.bulk_job for sending in self._standing.sendings.values()]
        for bulk_job in dict.fromkeys([*going, *sorted(self._standing.unclosed)]):
            self._abort(bulk_job)

    def close(self) -> None:
        """Abort what was never used."""
        try:
            self._drop_open()
        except ExportError as error:
            message = f"a BulkJob that was not used could not be aborted: {error.message}"
            self._work.listen(Warned(code=error.code, message=message))

    def _drop_open(self) -> None:
        for bulk_job in sorted(self._standing.unclosed):
            self._abort(bulk_job)

    def _abort(self, bulk_job: str) -> None:
        self._aborted.add(bulk_job)
        self._journal.do(Effect.JOB_ABORT, lambda: self._bulk.abort(bulk_job), bulk_job=bulk_job)
