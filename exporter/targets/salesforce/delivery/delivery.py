"""One leg of an export from its spool to settled rows: send, poll, read results, send again what may go in later.

A row that Salesforce refused was not written. So rows that were rejected for no fault of theirs (a lock, an error that
may pass) are sent again, alone and in ever smaller pieces. Where an org takes no rows at all, they wait for the run's
next attempt.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from exporter.events import BatchSent, BatchSettled
from exporter.failures import ExportError, configuration, internal
from exporter.report import RejectedRow
from exporter.spool.spool import SpooledBatch
from exporter.targets.salesforce.api.row_results import PASSING, SOON, RowResult, count_reasons, write_refusals
from exporter.targets.salesforce.delivery.bulk1_transport import SERIAL_ROUND, Bulk1Carrier
from exporter.targets.salesforce.delivery.bulk2_transport import Bulk2Carrier
from exporter.targets.salesforce.delivery.export_context import ExportWork
from exporter.targets.salesforce.delivery.export_state import Refused, Sending
from exporter.targets.salesforce.delivery.journal import Fact
from exporter.targets.salesforce.delivery.transport import Carrier, Ending
from exporter.targets.salesforce.http.error_codes import Verdict, Where, classify
from exporter.targets.salesforce.http.http_session import CallError, Received
from exporter.targets.salesforce.http.message_values import without_values
from exporter.targets.salesforce.http.responses import ReportedError, read_state_message
from exporter.targets.salesforce.preparation.id_lookup import select_with_ids
from exporter.targets.salesforce.row_ranges import read_ranges, select_rows, write_ranges

MAX_IN_FLIGHT = 20
"""Batches that wait at Salesforce at once."""
LOCK_ROUNDS = 3
"""How often rejected rows are sent again: alone, one batch at a time, when nothing else of the leg is on its way."""
SMALLEST_PIECES = (25, 5)
"""Rows that are sent again together at least, in the serial rounds. Salesforce processes 200 in one transaction (Bulk
API guide): fewer take fewer locks at a time. A batch never makes more than 10, then 50 pieces, each one of the 15,000
batches that an org takes a day."""
MAX_ABSENCES = 3
"""How often a batch is sent again of which Salesforce processed nothing."""
_SHORTEST_POLL, _LONGEST_POLL = 0.1, 30.0
_STOP_POLLS = 8
_UNTOLD = RowResult(code="NOT_PROCESSED", message="it was to be sent again when the run ended")
"""Why a row is rejected whose reason an older version did not write down."""
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
        self._backoff = self._client.make_backoff()
        self._refusal: CallError | None = None

    def finish(self) -> None:
        """Send, poll and settle until every row is, then close what is open."""
        standing = self._standing
        self._check_org()
        self._carrier.resume()
        waiting = deque(number for number in self._batches if self._is_unsent(number))
        if waiting or standing.locked:
            self._carrier.prepare()
        pause = _SHORTEST_POLL
        while True:
            while waiting and self._refusal is None and len(standing.sendings) < MAX_IN_FLIGHT:
                self._send(waiting.popleft())
            if not standing.sendings:
                if self._refusal is not None:  # all that was on its way is settled: the next attempt begins afresh
                    refusal, self._refusal = self._refusal, None
                    self._client.back_off(self._backoff, refusal)
                    continue
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
        """Abort what has not begun, and settle, for a short while, what has: no row is sent any more.

        Rows that were to be sent again are rejected, for the reason that Salesforce refused them for. A batch whose
        results tell nothing stays in doubt, as does one that may begin after all: the first such ExportError is raised
        when the others are settled.
        """
        standing = self._standing
        self._check_org()
        self._reject_waiting()
        failed: list[ExportError] = []
        try:
            self._carrier.stop()
        except ExportError as error:
            failed.append(error)
        self._carrier.resume()
        pause = _SHORTEST_POLL
        untold: set[int] = set()
        for _ in range(_STOP_POLLS):
            for ending in list(self._carrier.ended()):
                number = ending.sending.batch
                if number in untold:
                    continue
                if not (ending.whole or ending.processed):
                    self._journal.note(Fact.BATCH_ABSENT, batch=number, unprocessed=False)
                    continue
                try:
                    self._settle(ending, self._results(ending), again=frozenset(), through=ending.sending.round)
                except ExportError as error:
                    untold.add(number)
                    failed.append(error)
            if standing.sendings.keys() <= untold:
                break
            self._client.pause(pause)
            pause *= 2
        self._reject_waiting()
        if failed:
            raise failed[0]

    def _check_org(self) -> None:
        """Log in, and raise configuration ``OTHER_ORG`` if that leads to another org than the BulkJobs are in."""
        here, there = self._client.org_id(), self._standing.org
        if here and there and here != there:
            raise configuration(
                "OTHER_ORG",
                f"the connection now logs in to org {here}, but this run began to send to org {there}: nothing is sent "
                "and nothing can be asked there. Correct the connection's login_url and credentials",
            )

    def _is_unsent(self, number: int) -> bool:
        standing = self._standing
        return not (number in standing.settled or number in standing.sendings or number in standing.locked)

    def _send(self, number: int) -> None:
        batch = self._batches[number]
        is_first = number not in self._standing.locked
        passing = any(classify(Where.ROW, each.code, each.message).verdict in PASSING for each in self._why(number))
        if passing and self._standing.tallies[number].accepted:  # else it was waited already
            seconds = self._backoff.delay(None)
            self._client.pause(_LONGEST_POLL if seconds is None else seconds)
        chosen = self._chosen(batch)
        self._carrier.send(number, self._content(batch, chosen), len(chosen))
        if is_first:
            self._listen(BatchSent(batch=number, rows=len(chosen)))

    def _why(self, number: int) -> Sequence[Refused]:
        return self._standing.why.get(number, ())

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
        """Return the numbers of the rows that the batch's next sending holds, or its present one holds."""
        standing = self._standing
        if batch.number in standing.locked:
            sending = standing.sendings.get(batch.number)
            return standing.next_rows(batch.number, self._piece(batch) if sending is None else sending.rows)
        refused = frozenset(read_ranges(standing.refused.get(batch.number, "")))
        return [number for number in batch.row_numbers() if number not in refused]

    def _piece(self, batch: SpooledBatch) -> int:
        """Return how many of the rows that are sent again go together: the later the round, the fewer."""
        number = self._standing.rounds.get(batch.number, 0)
        if number < SERIAL_ROUND:
            return batch.rows
        is_first = number == SERIAL_ROUND
        return max(SMALLEST_PIECES[not is_first], -(-batch.rows // (10 if is_first else 50)))

    def _conclude(self, ending: Ending) -> None:
        """Settle what became of a sending, and take note if the org takes no rows now. Raises ExportError."""
        sending = ending.sending
        results = self._results(ending)
        if not (results or ending.whole or ending.processed):
            error = _batch_error(ending)
            if ending.stopped or error.rule.verdict is not Verdict.ROW_LOCKED:
                self._send_anew(ending, error)
                return
            reported = read_state_message(ending.message)
            results = [RowResult(code=reported.code, message=reported.message)] * sending.rows  # none was processed
        refusal = self._taking_nothing(sending, results)
        if refusal is not None:
            self._settle(ending, results, again=PASSING, through=sending.round - 1)
            self._refusal = self._refusal or refusal
        else:
            through = max(sending.round, SERIAL_ROUND - 1) if _is_crowded(ending, results) else sending.round
            again = SOON if through < LOCK_ROUNDS else frozenset[Verdict]()
            self._settle(ending, results, again=again, through=through)
            if any(result is not None and result.accepted for result in results):
                self._backoff = self._client.make_backoff()
        if ending.stopped:
            self._carrier.give_up(ending)

    def _send_anew(self, ending: Ending, error: CallError) -> None:
        """Have a batch sent once more of which nothing was processed. Raises ``error`` if that would not help."""
        number = ending.sending.batch
        self._journal.note(Fact.BATCH_ABSENT, batch=number, unprocessed=not ending.stopped)
        if ending.stopped:
            self._carrier.give_up(ending)
            return
        if error.rule.verdict is not Verdict.TRANSIENT or self._standing.absences[number] > MAX_ABSENCES:
            raise error.outward()
        self._client.back_off(self._client.make_backoff(), error)

    def _taking_nothing(self, sending: Sending, results: Sequence[RowResult | None]) -> CallError | None:
        """Return why the org takes no rows at all now, if that is what a sending of an untouched batch found."""
        tally = self._standing.tallies.get(sending.batch)
        refused = [result for result in results if result is not None]
        if (tally is not None and tally.accepted) or not refused:
            return None
        if any(result.accepted or result.rule.verdict not in PASSING for result in refused):
            return None
        waits = {Verdict.QUOTA, Verdict.LIMIT}
        reason = next((each for each in refused if each.rule.verdict in waits), refused[0])
        message = f"every row of batch {sending.id} was rejected: {without_values(reason.message)}"
        return CallError(reason.rule, reason.code, message, received=Received.NO)

    def _results(self, ending: Ending) -> Sequence[RowResult | None]:
        batch = self._batches.get(ending.sending.batch)
        if batch is None:  # its spool is gone
            return self._carrier.tally(ending)
        return self._carrier.results(ending, self._content(batch, self._chosen(batch)))

    def _settle(
        self, ending: Ending, results: Sequence[RowResult | None], *, again: frozenset[Verdict], through: int
    ) -> None:
        """Write down what became of each row of a sending, with the refused ones, in one step.

        Rows that were not processed, and those that were refused with one of the verdicts ``again``, are to be sent
        again, in the round after ``through``; without any such verdict, none is.
        """
        sending = ending.sending
        if len(results) != sending.rows:
            raise _unaccounted(sending, len(results))
        left_out = RowResult(code="NOT_PROCESSED", message=ending.message or "Salesforce left it out")
        refused: dict[int, RowResult] = {}
        held: dict[int, RowResult] = {}
        chosen = self._sent(sending)
        for number, result in zip(chosen, results, strict=True):
            if again and (result is None or (not result.accepted and result.rule.verdict in again)):
                held[number] = result or left_out
            elif result is None or not self._is_fine(result):
                refused[number] = result or left_out
        accepted = sending.rows - len(held) - len(refused)
        sent = frozenset(chosen)
        standing, number = self._standing, sending.batch
        waiting = [each for each in self._waiting(number) if each not in sent]
        rest = [each for each in read_ranges(standing.locked.get(number, "")) if each not in sent]
        self._note_settled(
            number,
            refused,
            accepted=accepted,
            locked=sorted([*rest, *held]),
            unsent=waiting if through == sending.round else [],
            why=[*_only(self._why(number), rest), *_reasons(held)],
            through=through,
        )

    def _sent(self, sending: Sending) -> Sequence[int]:
        """Return the numbers of the rows of a sending; any numbers, if the spool that knew them is gone."""
        batch = self._batches.get(sending.batch)
        if batch is not None:
            return self._chosen(batch)
        if sending.batch in self._standing.locked:
            return self._standing.next_rows(sending.batch, sending.rows)
        return range(1, sending.rows + 1)

    def _waiting(self, number: int) -> Iterator[int]:
        """Yield the rows of a batch that the present round has to send, or sends now, if it is not the first round."""
        standing = self._standing
        yield from read_ranges(standing.unsent.get(number) or standing.locked.get(number, ""))

    def _reject_waiting(self) -> None:
        """Reject the rows that were to be sent again, but for those of a batch that is on its way."""
        standing = self._standing
        for number in [each for each in standing.locked if each not in standing.sendings]:
            rows = dict.fromkeys(read_ranges(standing.locked[number]), _UNTOLD)
            for why in self._why(number):
                rows |= dict.fromkeys(read_ranges(why.numbers), RowResult(code=why.code, message=why.message))
            self._note_settled(number, rows, through=standing.rounds.get(number, 0))

    def _note_settled(
        self,
        number: int,
        refused: Mapping[int, RowResult],
        *,
        through: int,
        accepted: int = 0,
        locked: Sequence[int] = (),
        unsent: Sequence[int] = (),
        why: Sequence[Refused] = (),
    ) -> None:
        batch = self._batches.get(number)
        rows = self._rejected(batch, refused) if batch is not None else []
        values = {row.number: tuple(row.values.values()) for row in rows}
        counted = count_reasons((result, values.get(row, ())) for row, result in sorted(refused.items()))
        removal = self._work.is_removal
        self._journal.note(
            Fact.BATCH_SETTLED,
            batch=number,
            rows=() if removal else rows,
            round=through,
            accepted=accepted,
            rejected=len(refused),
            locked=write_ranges(locked),
            refusals=write_refusals(counted),
            **({"unsent": write_ranges(unsent), "why": [asdict(each) for each in why]} if locked else {}),
            **({"left_out": write_ranges(sorted(refused))} if removal else {}),
            **({"values_kept": False} if refused and batch is None else {}),
        )
        self._listen(BatchSettled(batch=number, accepted=accepted, rejected=len(refused)))

    def _is_fine(self, result: RowResult) -> bool:
        return result.accepted or (self._work.is_removal and result.code in _GONE)

    def _rejected(self, batch: SpooledBatch, refused: Mapping[int, RowResult]) -> list[RejectedRow]:
        return [
            RejectedRow(number=number, values=values, code=refused[number].code, message=refused[number].text)
            for number, values in self._spool.values(batch, refused)
        ]


def _only(why: Sequence[Refused], numbers: Sequence[int]) -> list[Refused]:
    """Return the reasons of these rows only."""
    wanted = frozenset(numbers)
    kept = [(each, [number for number in read_ranges(each.numbers) if number in wanted]) for each in why]
    return [replace(each, numbers=write_ranges(some)) for each, some in kept if some]


def _reasons(held: Mapping[int, RowResult]) -> list[Refused]:
    """Return why rows are to be sent again, the values left out."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, result in held.items():
        groups.setdefault((result.code, without_values(result.message)), []).append(number)
    return [Refused(code=code, message=message, numbers=write_ranges(some)) for (code, message), some in groups.items()]


def _is_crowded(ending: Ending, results: Sequence[RowResult | None]) -> bool:
    """Whether a batch met so many locks that Salesforce gave it up: what is left goes serially, in smaller pieces."""
    crowded = _batch_error(ending).rule.verdict is Verdict.ROW_LOCKED
    return crowded or any(result is not None and result.code == "TooManyLockFailure" for result in results)


def _unaccounted(sending: Sending, results: int) -> ExportError:
    return internal(
        "ROWS_UNACCOUNTED",
        f"batch {sending.id} of BulkJob {sending.bulk_job} was sent {sending.rows} rows, but Salesforce gives "
        f"{results} results: it is unknown which rows were accepted, so nothing is sent again. Look at the "
        "batch under Setup, Bulk Data Load Jobs",
    )


def _batch_error(ending: Ending) -> CallError:
    """Read ``InvalidBatch : Field name not found : X``."""
    reported = read_state_message(ending.message)
    if not reported.code:
        reported = ReportedError(code="BATCH_FAILED", message=ending.message or "the batch failed without a reason")
    rule = classify(Where.BATCH, reported.code, reported.message)
    message = f"batch {ending.sending.id} failed: {without_values(reported.message)}"
    return CallError(rule, reported.code, message, received=Received.NO)
