"""One export from a script: a query's rows into a target, without a scheduler and without a state database."""

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from exporter.events import Listener
from exporter.ledger import Control, Ledger, MemoryLedger
from exporter.report import ExportReport
from exporter.rows.mapping import apply_mapping
from exporter.settings.connection import Connection, ExportOptions
from exporter.settings.mapping import OutputMapping
from exporter.sources.registry import open_source
from exporter.sources.source import Query, ReadAgainError
from exporter.spool.spool import Spool
from exporter.targets.registry import open_target
from exporter.targets.target import ExportContext

BATCH_ROWS = 10_000
"""How many rows of a result are held at once, at most."""


class Uninterrupted:
    """A control that never stops an export."""

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        """Wait for so many seconds."""
        time.sleep(seconds)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Forget ``callback``: nothing stops this export."""


def export(
    query: str,
    *,
    source: Connection,
    target: Connection,
    options: ExportOptions,
    parameters: Mapping[str, object] | None = None,
    mapping: OutputMapping | None = None,
    max_rejected: int | str | None = None,
    listen: Listener = lambda _event: None,
    ledger: Ledger | None = None,
    spool: Path | None = None,
    control: Control | None = None,
) -> ExportReport:
    """Run ``query`` at ``source``, send each row to ``target`` once, and return what became of the rows.

    ``parameters`` are bound, never pasted in. ``max_rejected`` rows (or a share such as ``"5%"``) may be rejected where
    records are to be deleted first. ``listen`` is called with each event, in this thread. Rejected rows are in
    ``ledger.rejected`` of a MemoryLedger, by number.

    After a crash, a call with the same ``ledger`` and ``spool`` continues where the first one stopped and sends nothing
    twice. That needs a ledger that outlives the process. By default both are gone with the call, and another call
    begins anew: then an append may send rows twice. The directory ``spool`` is the caller's to remove.

    Raises ExportError, and what ``control`` raises to stop.
    """
    control, ledger = control or Uninterrupted(), ledger if ledger is not None else MemoryLedger()
    begun = datetime.now(UTC)

    with tempfile.TemporaryDirectory() if spool is None else nullcontext(spool) as directory:
        kept = Spool(Path(directory) / "export")
        opened = open_target(target, options)
        if kept.manifest() is None:
            opened.prepare([], complete=False, control=control, listen=listen)
            reader = open_source(source)
            control.on_stop(reader.cancel)
            while True:
                try:
                    with reader.read(Query(sql=query, parameters=parameters or {}), batch_rows=BATCH_ROWS) as rows:
                        mapped = apply_mapping(rows, mapping, segment=None, exported_at=begun)
                        opened.fill(mapped, kept, control=control, listen=listen)
                    break
                except ReadAgainError:
                    control.check()
        context = ExportContext(
            job="export",
            run_id=1,
            scheduled_time=begun.replace(microsecond=0),
            ledger=ledger,
            control=control,
            listen=listen,
            max_rejected=max_rejected,
        )
        return opened.export(kept, context)
