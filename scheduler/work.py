"""A claimed run in a worker's hands: its stored state, its ledger, its progress, and how it is stopped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from exporter.events import Called, Event, Listener, Progress, Retrying, Warned, advance
from exporter.ledger import Entry, Mark
from exporter.report import RejectedRow
from exporter.spool import Spool
from scheduler.config import Config
from scheduler.control import RunControl
from scheduler.logs import get_logger
from scheduler.meters import METERS
from storage import ledger, runs
from storage.database import Database
from storage.ledger import LedgerRow
from storage.rejections import RejectedValues
from storage.runs import StoredRun

PROGRESS_SECONDS = 0.5
"""How often at the most a run's progress is written."""
KEPT_FREE = 50_000_000
"""Bytes of its disk that no spool takes (fewer if ``min_free`` is less): the state database may stand there, too."""

Clock = Callable[[], datetime]
log = get_logger("schedctl.runner")


def utc_now() -> datetime:
    """Return the time now, UTC."""
    return datetime.now(UTC)


@dataclass(kw_only=True)
class RunWork:
    """A claimed run in the hands of a worker: where its state lives and how it is stopped."""

    database: Database
    config: Config
    run: StoredRun
    spool_root: Path
    control: RunControl
    clock: Clock = utc_now
    listen: Listener = field(default=lambda _event: None)

    def __post_init__(self) -> None:
        if self.run.token is None:
            raise ValueError(f"run {self.run.id} is not claimed")
        self.token: str = self.run.token
        self.progress = Progress()
        self._written = 0.0

    @property
    def spool(self) -> Spool:
        """The run's own spool: the same for every attempt."""
        return Spool(self.spool_root / f"run-{self.run.id}", keep_free=self.kept_free)

    @property
    def kept_free(self) -> int:
        """How many bytes of its disk the spool leaves to others."""
        return min(self.config.storage.min_free, KEPT_FREE)

    def hear(self, event: Event) -> None:
        """Fold an event into the progress, write it now and then, and pass it on."""
        if isinstance(event, Called):
            connection = str(self.run.definition.get("export", {}).get("connection", ""))
            METERS.called(connection, sent=event.sent, received=event.received, quota=event.quota)
            return  # between a request and what is made of its answer nothing may come that can fail
        self.progress = advance(self.progress, event)
        if isinstance(event, Retrying):
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

    def __init__(self, work: RunWork) -> None:
        self._work = work

    def entries(self) -> Sequence[Entry]:
        """Return every entry of the run, over all attempts, oldest first."""
        with self._work.database.read() as session:
            rows = ledger.entries(session, self._work.run.id)
        return [Entry(step=row.step, mark=Mark(row.mark), batch=row.batch, data=row.data) for row in rows]

    def append(self, entry: Entry, *, rejected: Sequence[RejectedRow] = ()) -> None:
        """Write an entry and its rejected rows in one transaction; raises ClaimLost if the run is no longer ours."""
        self._work.control.check()
        row = LedgerRow(
            step=entry.step, mark=entry.mark.value, batch=entry.batch, data=dict(entry.data), at=self._work.clock()
        )
        refused = [
            RejectedValues(number=r.number, values=dict(r.values), code=r.code, message=r.message) for r in rejected
        ]
        with self._work.database.write() as session:
            ledger.append(session, self._work.run.id, self._work.token, row, rejected=refused)
