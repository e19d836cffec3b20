"""One leg of an export from its spool to settled rows: send, poll, read results, send locked rows again."""

from collections import deque
from collections.abc import Sequence

from exporter.events import BatchSent, BatchSettled
from exporter.failures import internal
from exporter.report import RejectedRow
from exporter.spool import SpooledBatch
from exporter.targets.salesforce.carrier import Carrier, Ending
from exporter.targets.salesforce.carrier1 import Bulk1Carrier
from exporter.targets.salesforce.carrier2 import Bulk2Carrier
from exporter.targets.salesforce.codes import Verdict, Where, classify
from exporter.targets.salesforce.effects import Fact
from exporter.targets.salesforce.lookup import select_with_ids
from exporter.targets.salesforce.results import RowResult, count_reasons
from exporter.targets.salesforce.rows import read_ranges, select_rows, write_ranges
from exporter.targets.salesforce.standing import Sending
from exporter.targets.salesforce.wire import CallError, Received
from exporter.targets.salesforce.work import ExportWork

MAX_IN_FLIGHT = 20
"""Batches that wait at Salesforce at once."""
LOCK_ROUNDS = 3
"""How often locked rows are sent again: alone, one batch at a time, when nothing else of the leg is on its way."""
MAX_ABSENCES = 3
"""How often a batch is sent again of which Salesforce processed nothing."""
_SHORTEST_POLL, _LONGEST_POLL = 0.1, 30.0
_STOP_POLLS = 8
_GONE = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"})
"""What a deletion says of a record that is not there any more: others, or a cascade, were quicker."""


class Delivery:
    """Sends what a spool holds and writes down what became of it. Raises ExportError, or what the owner raises."""

    def __init__(self, work: ExportWork) -> None:
        self._work = work
        self._spool = work.spool
        self._batches = {batch.number: batch for batch in work.manifest.batches}
        self._client = work.client
        self._journal = work.journal
        self._standing = work.standing
        self._listen = work.listen
        self._carrier: Carrier = Bulk2Carrier(work) if work.plan.bulk_api == "2" else Bulk1Carrier(work)

    def finish(self) -> None:
        """Send, poll and settle until every row is, then close what is open."""
        standing = self._standing
        self._carrier.resume()
        waiting = deque(number for number in self._batches if self._is_unsent(number))
        if waiting or standing.locked:
            self._carrier.prepare()
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
            for ending in self._carrier.ended():
                self._conclude(ending)
            gone = [number for number in before if number not in standing.sendings]
            waiting.extendleft(reversed([number for number in gone if self._is_unsent(number)]))
            pause = max(_SHORTEST_POLL, pause / 2) if gone else min(_LONGEST_POLL, pause * 2)
        self._carrier.close()

    def stop(self) -> None:
        """Abort what has not begun, and settle, for a short while, what has: no row is sent any more."""
        standing = self._standing
        self._carrier.stop()
        self._carrier.resume()
        pause = _SHORTEST_POLL
        for _ in range(_STOP_POLLS):
            for ending in list(self._carrier.ended()):
                results = self._results(ending) if ending.whole or ending.processed else []
                if results:
                    self._settle(ending, results)
                else:
                    self._journal.note(Fact.BATCH_ABSENT, batch=ending.sending.batch, unprocessed=False)
            if not standing.sendings:
                return
            self._client.pause(pause)
            pause *= 2

    def _is_unsent(self, number: int) -> bool:
        standing = self._standing
        return not (number in standing.settled or number in standing.sendings or number in standing.locked)

    def _send(self, number: int) -> None:
        batch = self._batches[number]
        chosen = self._chosen(batch)
        self._carrier.send(number, self._content(batch, chosen), len(chosen))
        if not self._standing.rounds.get(number):
            self._listen(BatchSent(batch=number, rows=len(chosen)))

    def _content(self, batch: SpooledBatch, chosen: Sequence[int]) -> bytes:
        """Return what a sending of these rows holds: the same bytes each time."""
        content = self._spool.read(batch)
        lookup, key = self._work.lookup, self._work.plan.key
        if lookup is not None and key is not None:
            return select_with_ids(content, batch, frozenset(chosen), lookup.ids(batch), key)
        if len(chosen) < batch.rows:
            return select_rows(content, batch.row_numbers(), frozenset(chosen))
        return content

    def _chosen(self, batch: SpooledBatch) -> list[int]:
        """Return the numbers of the rows that the batch's next sending holds, or its present one held."""
        locked = self._standing.locked.get(batch.number)
        if locked is not None:
            return list(read_ranges(locked))
        refused = frozenset(read_ranges(self._standing.refused.get(batch.number, "")))
        return [number for number in batch.row_numbers() if number not in refused]

    def _conclude(self, ending: Ending) -> None:
        number = ending.sending.batch
        results = self._results(ending)
        if results or ending.whole or ending.processed:
            self._settle(ending, results)
            if ending.stopped:
                self._carrier.give_up(ending)
            return
        self._journal.note(Fact.BATCH_ABSENT, batch=number, unprocessed=not ending.stopped)
        if ending.stopped:
            self._carrier.give_up(ending)
            return
        error = _batch_error(ending)
        if error.rule.verdict is not Verdict.TRANSIENT or self._standing.absences[number] > MAX_ABSENCES:
            raise error.outward()
        self._client.back_off(self._client.make_backoff(), error)

    def _results(self, ending: Ending) -> Sequence[RowResult | None]:
        batch = self._batches.get(ending.sending.batch)
        if batch is None:  # its spool is gone
            return self._carrier.tally(ending)
        return self._carrier.results(ending, self._content(batch, self._chosen(batch)))

    def _settle(self, ending: Ending, results: Sequence[RowResult | None]) -> None:
        """Write down what became of each row, with the refused ones, in one step."""
        sending = ending.sending
        if len(results) != sending.rows:
            raise _unaccounted(sending, len(results))
        batch = self._batches.get(sending.batch)
        refused: dict[int, RowResult] = {}
        again: list[int] = []
        is_last = sending.round >= LOCK_ROUNDS or batch is None
        numbers = range(1, sending.rows + 1) if batch is None else self._chosen(batch)
        for number, result in zip(numbers, results, strict=True):
            if not is_last and (result is None or result.locked):
                again.append(number)
            elif result is None:
                refused[number] = RowResult(code="NOT_PROCESSED", message=ending.message or "Salesforce left it out")
            elif not self._is_fine(result):
                refused[number] = result
        accepted = sending.rows - len(again) - len(refused)
        refusals = [
            {"code": refusal.code, "message": refusal.message, "count": refusal.count}
            for refusal in count_reasons(refused.values())
        ]
        removal = self._work.is_removal
        self._journal.note(
            Fact.BATCH_SETTLED,
            batch=sending.batch,
            rows=() if removal or batch is None else self._rejected(batch, refused),
            round=sending.round,
            accepted=accepted,
            rejected=len(refused),
            locked=write_ranges(again),
            refusals=refusals,
            **({"left_out": write_ranges(sorted(refused))} if removal else {}),
        )
        self._listen(BatchSettled(batch=sending.batch, accepted=accepted, rejected=len(refused)))

    def _is_fine(self, result: RowResult) -> bool:
        return result.accepted or (self._work.is_removal and result.code in _GONE)

    def _rejected(self, batch: SpooledBatch, refused: dict[int, RowResult]) -> list[RejectedRow]:
        return [
            RejectedRow(number=number, values=values, code=refused[number].code, message=refused[number].message)
            for number, values in self._spool.values(batch, refused)
        ]


def _unaccounted(sending: Sending, results: int) -> Exception:
    return internal(
        "ROWS_UNACCOUNTED",
        f"batch {sending.id} of BulkJob {sending.bulk_job} was sent {sending.rows} rows, but Salesforce gives "
        f"{results} results: which rows are in cannot be told, so nothing is sent again. Look at the "
        "batch under Setup, Bulk Data Load Jobs",
    )


def _batch_error(ending: Ending) -> CallError:
    """Read ``InvalidBatch : Field name not found : X``."""
    code, _, message = (part.strip() for part in ending.message.partition(":"))
    if not message:
        code, message = "BATCH_FAILED", ending.message or "the batch failed without a reason"
    rule = classify(Where.BATCH, code, message)
    return CallError(rule, code, f"batch {ending.sending.id} failed: {message}", received=Received.NO)
