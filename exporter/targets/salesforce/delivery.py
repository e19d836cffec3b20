"""One export from its spool to settled rows: send, poll, read results, send locked rows again."""

from collections import deque
from collections.abc import Iterator

from exporter.events import BatchSent, BatchSettled, Warned
from exporter.failures import ExportError, internal
from exporter.report import RejectedRow
from exporter.spool import SpooledBatch
from exporter.targets.salesforce.answers import BatchInfo
from exporter.targets.salesforce.bulk1 import Bulk1
from exporter.targets.salesforce.codes import Verdict, Where, classify
from exporter.targets.salesforce.effects import Effect, Fact
from exporter.targets.salesforce.results import RowResult, count_reasons
from exporter.targets.salesforce.rows import read_ranges, select_rows, write_ranges
from exporter.targets.salesforce.sending import Sender
from exporter.targets.salesforce.standing import Sending
from exporter.targets.salesforce.wire import CallError, Received
from exporter.targets.salesforce.work import ExportWork

MAX_IN_FLIGHT = 20
"""Batches that wait at Salesforce at once."""
LOCK_ROUNDS = 3
"""How often locked rows are sent again: alone, one batch at a time, when nothing else of the run is on its way."""
MAX_ABSENCES = 3
"""How often a batch is sent again of which Salesforce processed nothing."""
_SHORTEST_POLL, _LONGEST_POLL = 0.1, 30.0
_MAX_UNSEEN = 20
_STOP_POLLS = 8
_OVER = frozenset({"Completed", "Failed", "NotProcessed"})


class Delivery:
    """Sends what a spool holds and writes down what became of it. Raises ExportError, or what the owner raises."""

    def __init__(self, work: ExportWork) -> None:
        self._spool = work.spool
        self._batches = {batch.number: batch for batch in work.manifest.batches}
        self._client = work.client
        self._bulk = Bulk1(work.client)
        self._journal = work.journal
        self._standing = work.standing
        self._listen = work.listen
        self._unseen: dict[str, int] = {}
        self._sender = Sender(work, self._bulk)

    def finish(self) -> None:
        """Send, poll and settle until every row is, then close what is open."""
        standing = self._standing
        self._resolve_unknown()
        waiting = deque(number for number in self._batches if self._is_unsent(number))
        if waiting or standing.locked:
            self._sender.check_job()
        pause = _SHORTEST_POLL
        while True:
            while waiting and len(standing.sendings) < MAX_IN_FLIGHT:
                self._send(waiting.popleft())
            if not standing.sendings:
                if not standing.locked:
                    break
                self._send(min(standing.locked))
            self._client.pause(pause)
            before = sorted(standing.sendings)
            for sending, info in self._finished():
                self._conclude(sending, info)
            gone = [number for number in before if number not in standing.sendings]
            waiting.extendleft(reversed([number for number in gone if self._is_unsent(number)]))
            pause = max(_SHORTEST_POLL, pause / 2) if gone else min(_LONGEST_POLL, pause * 2)
        self._close()

    def stop(self) -> None:
        """Abort what has not begun, and settle, for a short while, what has: no row is sent any more."""
        standing = self._standing
        for bulk_job in sorted(standing.unclosed):
            self._sender.end(bulk_job, Effect.JOB_ABORT)
        self._resolve_unknown()
        pause = _SHORTEST_POLL
        for _ in range(_STOP_POLLS):
            for sending, info in list(self._finished()):
                if info.state == "Completed":
                    self._settle(sending, self._results(sending))
                else:
                    self._journal.note(Fact.BATCH_ABSENT, batch=sending.batch, unprocessed=False)
            if not standing.sendings:
                return
            self._client.pause(pause)
            pause *= 2

    def _is_unsent(self, number: int) -> bool:
        standing = self._standing
        return not (number in standing.settled or number in standing.sendings or number in standing.locked)

    def _resolve_unknown(self) -> None:
        for sending in list(self._standing.sendings.values()):
            if sending.id is None:
                self._sender.resolve(sending)

    def _send(self, number: int) -> None:
        batch = self._batches[number]
        chosen = self._chosen(batch)
        content = self._spool.read(batch)
        if len(chosen) < batch.rows:
            content = select_rows(content, batch.row_numbers(), frozenset(chosen))
        self._sender.send(number, content, len(chosen))
        if not self._standing.rounds.get(number):
            self._listen(BatchSent(batch=number, rows=len(chosen)))

    def _chosen(self, batch: SpooledBatch) -> list[int]:
        """Return the numbers of the rows that the batch's next sending holds, or its present one held."""
        locked = self._standing.locked.get(batch.number)
        if locked is not None:
            return list(read_ranges(locked))
        refused = frozenset(read_ranges(self._standing.refused.get(batch.number, "")))
        return [number for number in batch.row_numbers() if number not in refused]

    def _finished(self) -> Iterator[tuple[Sending, BatchInfo]]:
        """Yield the sendings of which Salesforce says that it is done with them: one call per BulkJob."""
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
                    yield sending, info

    def _miss(self, sending: Sending, batch: str) -> None:
        """Wait for a batch that the list does not show yet, but not forever."""
        self._unseen[batch] = self._unseen.get(batch, 0) + 1
        if self._unseen[batch] > _MAX_UNSEEN:
            raise internal("BATCH_MISSING", f"BulkJob {sending.bulk_job} does not list batch {batch}, which it took")

    def _conclude(self, sending: Sending, info: BatchInfo) -> None:
        results = self._results(sending, never_begun=info.state != "Completed")
        if results or info.state == "Completed" or info.processed:
            self._settle(sending, results)
            return
        self._journal.note(Fact.BATCH_ABSENT, batch=sending.batch, unprocessed=info.state == "Failed")
        if info.state == "NotProcessed":
            job, _ = self._bulk.job(sending.bulk_job)
            self._sender.lose_job(sending.bulk_job, job.state)
            return
        error = _batch_error(info)
        if error.rule.verdict is not Verdict.TRANSIENT or self._standing.absences[sending.batch] > MAX_ABSENCES:
            raise error.outward()
        self._client.back_off(self._client.make_backoff(), error)

    def _results(self, sending: Sending, *, never_begun: bool = False) -> list[RowResult]:
        """Read the results; a batch of which nothing was processed may answer that it has none."""
        try:
            return self._bulk.results(sending.bulk_job, sending.id or "", sending.rows)
        except ExportError as error:
            if never_begun and error.code in {"InvalidBatch", "InvalidJobState"}:
                return []
            raise

    def _settle(self, sending: Sending, results: list[RowResult]) -> None:
        """Write down what became of each row, with the refused ones, in one step."""
        if len(results) != sending.rows:
            raise internal(
                "ROWS_UNACCOUNTED",
                f"batch {sending.id} of BulkJob {sending.bulk_job} was sent {sending.rows} rows, but Salesforce gives "
                f"{len(results)} results: which rows are in cannot be told, so nothing is sent again. Look at the "
                "batch under Setup, Bulk Data Load Jobs",
            )
        batch = self._batches[sending.batch]
        refused: dict[int, RowResult] = {}
        locked: list[int] = []
        for number, result in zip(self._chosen(batch), results, strict=True):
            if result.locked and sending.round < LOCK_ROUNDS:
                locked.append(number)
            elif not result.accepted:
                refused[number] = result
        rows = [
            RejectedRow(number=number, values=values, code=refused[number].code, message=refused[number].message)
            for number, values in self._spool.values(batch, refused)
        ]
        accepted = sending.rows - len(locked) - len(refused)
        refusals = [
            {"code": refusal.code, "message": refusal.message, "count": refusal.count}
            for refusal in count_reasons(refused.values())
        ]
        self._journal.note(
            Fact.BATCH_SETTLED,
            batch=sending.batch,
            rows=rows,
            round=sending.round,
            accepted=accepted,
            rejected=len(refused),
            locked=write_ranges(locked),
            refusals=refusals,
        )
        self._listen(BatchSettled(batch=sending.batch, accepted=accepted, rejected=len(refused)))

    def _close(self) -> None:
        """Close the BulkJobs that are still open; what goes wrong is told, for no row hangs on it."""
        for bulk_job in sorted(self._standing.unclosed):
            try:
                self._sender.end(bulk_job, Effect.JOB_CLOSE)
            except ExportError as error:
                message = f"BulkJob {bulk_job} could not be closed: {error.message}"
                self._listen(Warned(code=error.code, message=message))


def _batch_error(info: BatchInfo) -> CallError:
    """Read ``InvalidBatch : Field name not found : X``."""
    code, _, message = (part.strip() for part in info.message.partition(":"))
    if not message:
        code, message = "BATCH_FAILED", info.message or "the batch failed without a reason"
    rule = classify(Where.BATCH, code, message)
    return CallError(rule, code, f"batch {info.id} failed: {message}", received=Received.NO)
