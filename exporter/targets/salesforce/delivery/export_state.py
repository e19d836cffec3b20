"""Where an export stands, folded from the entries of its ledger: after a restart as while it goes on. Pure."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from exporter.ledger import Entry, Mark
from exporter.report import ExportReport, Refusal, merge_refusals
from exporter.targets.salesforce.api.row_results import read_refusals
from exporter.targets.salesforce.delivery.journal import Effect, Fact, Leg
from exporter.targets.salesforce.row_ranges import read_ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """Rows of a batch that were handed over, or were about to be, and are not settled.

    ``round`` counts from 0; later ones hold only rows that were rejected before, for no fault of theirs. ``id`` is the
    batch's at Salesforce, and None while it is not known whether it arrived there.
    """

    batch: int
    round: int
    bulk_job: str
    sha256: str
    rows: int
    id: str | None = None


@dataclass(kw_only=True, slots=True)
class Tally:
    """What is certain of a batch's rows."""

    sent: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Rows that are to be sent again, as ranges, and why they were refused, without their values."""

    code: str
    message: str
    numbers: str


class Standing:
    """What the ledger says so far. Everything but :meth:`follow` only reads it.

    ``org`` is the id of the org that has the BulkJobs, where that is known.
    ``bulk_job`` takes batches, as far as is known, with ``concurrency``; ``unclosed`` were opened and are not known to
    be over, nor to go on by themselves.
    ``arrived`` are the ids of all batches known to be ours. ``began`` tells that the preflight was passed.
    ``sendings``, ``locked`` (rows to be sent again, as ranges), ``unsent`` (those of them that the present round has
    still to send, as ranges), ``why`` (for which reasons they were refused) and ``rounds`` go by batch number, as do
    ``refused`` (rows not to be sent for their cells or keys, as ranges), ``left_out`` (records that could not be
    deleted, as ranges), ``absences`` (how often a sending came to nothing) and ``tallies``. ``doubtful`` rows are sent,
    but Salesforce may refuse them, for the reasons ``misfits``. ``without_values`` is why rows were rejected whose
    values had gone with the spool. ``listed`` is the number of records to
    remove, once it is known, and ``removed`` tells that they are gone.
    """

    def __init__(self) -> None:
        self.org: str | None = None
        self.bulk_job: str | None = None
        self.concurrency: str | None = None
        self.unclosed: set[str] = set()
        self.over: set[str] = set()
        self.stopped_by_others = 0
        self.sendings: dict[int, Sending] = {}
        self.locked: dict[int, str] = {}
        self.unsent: dict[int, str] = {}
        self.why: dict[int, tuple[Refused, ...]] = {}
        self.rounds: dict[int, int] = {}
        self.refused: dict[int, str] = {}
        self.absences: dict[int, int] = {}
        self.tallies: dict[int, Tally] = {}
        self.settled: set[int] = set()
        self.arrived: set[str] = set()
        self.left_out: dict[int, str] = {}
        self.listed: int | None = None
        self.removed = False
        self.cells_checked = False
        self.doubtful = 0
        self.misfits: tuple[Refusal, ...] = ()
        self.without_values: tuple[Refusal, ...] = ()
        self.keys_checked = False
        self.ids_found = False
        self.recorded_through = 0
        self.began = False
        self._report = ExportReport()

    def report(self, read: int) -> ExportReport:
        """Return the counts so far of a result of ``read`` rows."""
        return replace(self._report, read=read)

    def doubts(self, leg: Leg) -> Iterator[str]:
        """Say of each sending that is not settled what it was and where to look."""
        rows = "rows" if leg is Leg.WRITE else "deletions"
        for number, sending in sorted(self.sendings.items()):
            where = f"BulkJob {sending.bulk_job}"
            if sending.id is None:
                where += ", which may not have it"
            elif sending.id != sending.bulk_job:
                where += f", batch {sending.id}"
            yield f"batch {number} ({sending.rows:,} {rows}, {where})"

    def fates(self, number: int, rows: Iterable[int]) -> Iterator[tuple[int, bool]]:
        """Yield which of a batch's ``rows`` were handed over, and whether it is known what became of each.

        Rows that were refused for their keys are among them: that is known too.
        """
        sending = self.sendings.get(number)
        if number not in self.settled and sending is None and not self.rounds.get(number):
            return
        refused = frozenset(read_ranges(self.refused.get(number, "")))
        locked = frozenset(read_ranges(self.locked.get(number, "")))
        sent = frozenset(self.next_rows(number, sending.rows)) if sending is not None else frozenset()
        for row in rows:
            # What is on its way are rows that are sent again, or all but the refused ones where there are none.
            if sending is not None and (row in sent if locked else row not in refused):
                yield row, False
            elif row not in locked:
                yield row, True

    def next_rows(self, number: int, count: int) -> list[int]:
        """Return the first ``count`` rows of a batch that its next sending holds, or its present one, if it is not all.

        Empty if no rows of it are to be sent again.
        """
        ranges = self.unsent.get(number) or self.locked.get(number, "")
        return list(itertools.islice(read_ranges(ranges), count))

    def follow(self, entry: Entry) -> None:
        """Take in the next entry of the ledger; steps of others are skipped."""
        data = cast("Mapping[str, Any]", entry.data)
        if entry.batch is None:
            self._follow_run(entry, data)
        else:
            self._follow_batch(entry, entry.batch, data)

    def _follow_run(self, entry: Entry, data: Mapping[str, Any]) -> None:
        match entry.step:
            case Effect.JOB_CREATE:
                self.began = True
                self.org = self.org or data.get("org")
                if entry.mark is Mark.DONE:
                    self.bulk_job = data["id"]
                    self.concurrency = data.get("concurrency")
                    self.unclosed.add(data["id"])
            case Effect.JOB_CLOSE | Effect.JOB_ABORT:
                self._end(data["bulk_job"], certain=entry.mark is Mark.DONE)
            case Fact.JOB_OVER:
                self._end(data["bulk_job"], certain=True)
                self.stopped_by_others += 1
            case _:
                self._learn(entry, data)

    def _learn(self, entry: Entry, data: Mapping[str, Any]) -> None:
        """Take in a fact of the leg as a whole."""
        match entry.step:
            case Fact.CELLS_CHECKED:
                self.cells_checked = True
                self.doubtful = data["doubtful"]
                self.misfits = tuple(read_refusals(data["reasons"]))
            case Fact.KEYS_CHECKED:
                self.keys_checked = True
            case Fact.IDS_FOUND:
                self.ids_found = True
            case Fact.RECORDS_LISTED:
                self.listed = data["records"]
            case Fact.RECORDS_REMOVED:
                self.removed = True
            case Fact.SPOOL_REJECTED:
                self._count(0, data)
                self.recorded_through = data["through"]

    def _follow_batch(self, entry: Entry, batch: int, data: Mapping[str, Any]) -> None:
        match entry.step:
            case Effect.JOB_CREATE:
                self.began = True
                self.org = self.org or data.get("org")
                if entry.mark is Mark.DONE:
                    self.unclosed.add(data["id"])
            case Effect.BATCH_SEND:
                self._send(batch, entry.mark, data)
            case Fact.BATCH_ABSENT:
                self.sendings.pop(batch, None)
                self.absences[batch] = self.absences.get(batch, 0) + bool(data["unprocessed"])
            case Fact.BATCH_SETTLED:
                self._settle(batch, data)
            case Fact.ROWS_REOPENED:
                self._reopen(batch, data)
            case Fact.CELLS_REFUSED | Fact.KEYS_REFUSED | Fact.IDS_REFUSED:
                self._count(batch, data)
                self.refused[batch] = ",".join(filter(None, (self.refused.get(batch), data["numbers"])))
                if not data["left"]:
                    self.settled.add(batch)

    def _send(self, batch: int, mark: Mark, data: Mapping[str, Any]) -> None:
        self.sendings[batch] = Sending(
            batch=batch,
            round=data["round"],
            bulk_job=data["bulk_job"],
            sha256=data["sha256"],
            rows=data["rows"],
            id=data["id"] if mark is Mark.DONE else None,
        )
        if mark is Mark.DONE:
            self.arrived.add(data["id"])
            if data["id"] == data["bulk_job"]:  # a BulkJob of its own, which goes on by itself
                self.unclosed.discard(data["id"])
            if not data["round"]:
                self.tallies.setdefault(batch, Tally()).sent = data["rows"]

    def _end(self, bulk_job: str, *, certain: bool) -> None:
        """Use a BulkJob no more from the first intent to end it on."""
        if self.bulk_job == bulk_job:
            self.bulk_job = None
        if certain:
            self.unclosed.discard(bulk_job)
            self.over.add(bulk_job)

    def _settle(self, batch: int, data: Mapping[str, Any]) -> None:
        self.sendings.pop(batch, None)
        self._count(batch, data)
        if not data.get("values_kept", True):
            self.without_values = merge_refusals(self.without_values, read_refusals(data["refusals"]))
        self.unsent[batch] = data.get("unsent", "")
        self.rounds[batch] = data["round"] + (not self.unsent[batch])
        self.left_out[batch] = ",".join(filter(None, (self.left_out.get(batch), data.get("left_out"))))
        if data["locked"]:
            self.locked[batch] = data["locked"]
            self.why[batch] = tuple(Refused(**each) for each in data.get("why", ()))
        else:
            for kept in (self.locked, self.why):
                kept.pop(batch, None)
            self.settled.add(batch)

    def _reopen(self, batch: int, data: Mapping[str, Any]) -> None:
        """Take back that rows were rejected."""
        self.locked[batch] = data["numbers"]
        for kept in (self.unsent, self.why):
            kept.pop(batch, None)
        self.left_out[batch] = ""
        self.settled.discard(batch)
        self.tallies[batch].rejected = 0
        self._report = replace(self._report, rejected=sum(each.rejected for each in self.tallies.values()), refusals=())

    def _count(self, batch: int, data: Mapping[str, Any]) -> None:
        tally = self.tallies.setdefault(batch, Tally())
        accepted, rejected = data.get("accepted", 0), data["rejected"]
        tally.accepted += accepted
        tally.rejected += rejected
        self._report = self._report.plus(accepted=accepted, rejected=rejected, refusals=read_refusals(data["refusals"]))
