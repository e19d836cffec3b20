"""A claimed run in a worker's hands: its stored state, its ledger, its progress, and how it is stopped."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from exporter.events import Called, Event, Listener, Progress, QueryBegunAgain, Retrying, Warned, advance
from exporter.ledger import Entry, Mark
from exporter.report import RejectedRow
from exporter.spool.spool import Spool
from scheduler.config.build import Config
from scheduler.environment.clock import Clock, utc_now
from scheduler.jobs.outline import Outline
from scheduler.observability.counters import METERS
from scheduler.observability.logging_setup import get_logger
from scheduler.runs.cancellation import RunControl
from scheduler.runs.spool_identity import (
    Binding,
    binding_of,
    bound_row,
    directory_name,
    directory_of,
    effects,
    owner_of,
)
from storage import key_values
from storage.database import Database
from storage.runs import ledger, runs
from storage.runs.ledger import LedgerRow
from storage.runs.rejections import RejectedValues
from storage.runs.runs import StoredRun

PROGRESS_SECONDS = 0.5
"""How often at the most a run's progress is written."""
KEPT_FREE = 50_000_000
"""Bytes of its disk that no spool takes (fewer if ``min_free`` is less): the state database may stand there, too."""

log = get_logger("schedctl.runner")


@dataclass(kw_only=True)
class RunWork:
    """A claimed run in the hands of a worker: where its state is and how it is stopped.

    ``place`` is the id of the spool directory ``spool_root``, if it has one.
    """

    database: Database
    config: Config
    run: StoredRun
    spool_root: Path
    control: RunControl
    clock: Clock = utc_now
    place: str | None = None
    listen: Listener = field(default=lambda _event: None)

    def __post_init__(self) -> None:
        if self.run.token is None:
            raise ValueError(f"run {self.run.id} is not claimed")
        self.token: str = self.run.token
        self.progress = Progress()
        self._written = 0.0

    @cached_property
    def spool(self) -> Spool:
        """The run's own spool: the same for every attempt."""
        with self.database.read() as session:
            owner = owner_of(self.run, key_values.database_id(session), self.database.name)
            rows = ledger.entries(session, self.run.id)
        # A ledger that an earlier version began names no spool: it sends from the one of the run's number.
        binding = binding_of(rows)
        name = directory_name(owner) if not rows or binding else f"run-{self.run.id}"
        directory = directory_of(self.spool_root, name, binding)
        return Spool(directory, owner=owner, keep_free=self.kept_free)

    def entries(self) -> list[LedgerRow]:
        """Return the run's ledger, over all attempts, oldest first."""
        with self.database.read() as session:
            return ledger.entries(session, self.run.id)

    def binding(self) -> Binding | None:
        """Return what the run's ledger says of its spool; None before its first entry."""
        return binding_of(self.entries())

    @property
    def kept_free(self) -> int:
        """How many bytes of its disk the spool leaves to others."""
        return min(self.config.storage.min_free, KEPT_FREE)

    def hear(self, event: Event) -> None:
        """Fold an event into the progress, write it now and then, and pass it on."""
        if isinstance(event, Called):
            connection = Outline(self.run.definition).target
            METERS.called(connection, sent=event.sent, received=event.received, quota=event.quota)
            return  # between a request and what is made of its answer nothing may come that can fail
        self.progress = advance(self.progress, event)
        if isinstance(event, QueryBegunAgain):
            log.info("query.begun_again", code=event.code, message=event.message)
        elif isinstance(event, Retrying):
            log.warning("call.retrying", code=event.code, message=event.message, seconds=round(event.seconds, 1))
        elif isinstance(event, Warned):
            log.warning("run.warned", code=event.code, message=event.message)
        if time.monotonic() - self._written >= PROGRESS_SECONDS:
            self._written = time.monotonic()
            self.write_progress()
        self.listen(event)

    def write_progress(self) -> None:
        """Store the progress; raises ClaimLost if the run is no longer ours."""
        with self.database.write() as session:
            runs.set_progress(session, self.run.id, self.token, progress=self.progress_values())

    def progress_values(self) -> dict[str, object]:
        """Return the progress as it is stored."""
        counts = self.progress
        values: dict[str, object] = {
            "read": counts.read,
            "sent": counts.sent,
            "accepted": counts.accepted,
            "rejected": counts.rejected,
        }
        if counts.deleted:
            values["deleted"] = counts.deleted
        if counts.changes is not None:
            values |= asdict(counts.changes)
        return values

    def enter(self, phase: str) -> None:
        """Store the phase that begins; raises ClaimLost if the run is no longer ours."""
        self.control.check()
        with self.database.write() as session:
            runs.set_phase(session, self.run.id, self.token, phase=phase)


class StoredLedger:
    """The exporter's ledger, kept in the state database; each entry is written only while the claim holds."""

    def __init__(self, work: RunWork, *, has_spool: bool = True) -> None:
        """Without a spool, which is gone, nothing is sent any more: effects only end what was begun."""
        self._work = work
        self._has_spool = has_spool
        self._is_begun: bool | None = None
        self._effects = 0

    def entries(self) -> Sequence[Entry]:
        """Return every entry of the run, over all attempts, oldest first."""
        rows = self._work.entries()
        self._is_begun, self._effects = bool(rows), effects(rows)
        return [Entry(step=row.step, mark=Mark(row.mark), batch=row.batch, data=row.data) for row in rows]

    def append(self, entry: Entry, *, rejected: Sequence[RejectedRow] = ()) -> None:
        """Write an entry and its rejected rows in one transaction; raises ClaimLost if the run is no longer ours.

        The first one is preceded by the entry that binds the run to its spool, and one of an effect is followed by the
        mark in the spool that counts it: then, and only then, may the effect happen.
        """
        self._work.control.check()
        if self._is_begun is None:
            self.entries()
        first = None if self._is_begun else bound_row(self._work.spool, self._work.clock())
        row = LedgerRow(
            step=entry.step, mark=entry.mark.value, batch=entry.batch, data=dict(entry.data), at=self._work.clock()
        )
        refused = [
            RejectedValues(number=r.number, values=dict(r.values), code=r.code, message=r.message) for r in rejected
        ]
        run_id, token = self._work.run.id, self._work.token
        with self._work.database.write() as session:
            if first is not None:
                ledger.begin(session, run_id, token, first, spool_place=self._work.place)
            ledger.append(session, run_id, token, row, rejected=refused)
        self._is_begun = True
        self._effects += entry.mark is Mark.INTENDED
        if entry.mark is Mark.INTENDED and self._has_spool:
            self._work.spool.mark_effect(self._effects)
