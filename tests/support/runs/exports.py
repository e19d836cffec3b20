"""What it takes to run one export in a test: a spool, a ledger in memory, a control, and targets for a small org."""

import csv
import io
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from exporter.events import Event
from exporter.ledger import Control, Entry, Ledger, MemoryLedger
from exporter.report import RejectedRow
from exporter.settings.connection import SalesforceConnection, SalesforceExport
from exporter.spool.spool import Spool, SpooledColumn
from exporter.targets.salesforce.target import SalesforceTarget
from exporter.targets.target import ExportContext


class ListLedger(MemoryLedger):
    """A ledger in memory that tells its steps."""

    @property
    def kept(self) -> Sequence[Entry]:
        return self.entries()

    def steps(self, mark: str = "done") -> list[str]:
        return [entry.step for entry in self.kept if entry.mark == mark]


class QuickControl:
    """A control that never waits, only notes for how long it should have."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Forget it: nobody stops this."""


def csv_batch(names: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return written.getvalue().encode()


def make_spool(
    directory: Path,
    rows: Sequence[Sequence[str]],
    *,
    names: Sequence[str] = ("LastName", "Ext_Id__c"),
    types: Sequence[str] = (),
    batch_size: int = 2,
    rejected: Sequence[RejectedRow] = (),
) -> Spool:
    """Fill a spool with the rows in batches; ``rejected`` rows come after them in number."""
    spool = Spool(directory)
    with spool.begin() as writer:
        for first in range(0, len(rows), batch_size):
            some = rows[first : first + batch_size]
            writer.add(csv_batch(names, some), rows=len(some), first_row=first + 1)
        writer.reject(rejected)
        kinds = types or ["string"] * len(names)
        columns = [SpooledColumn(name=name, type=kind) for name, kind in zip(names, kinds, strict=True)]
        writer.close(columns, rows=len(rows) + len(rejected))
    return spool


def people(count: int) -> list[tuple[str, str]]:
    return [(f"name {number}", f"e{number}") for number in range(1, count + 1)]


def make_connection(url: str, **settings: Any) -> SalesforceConnection:
    shape = {"initial_retry_delay": 1, "retry_limit": 3, "client_id": "id", "client_secret": SecretStr("hidden-secret")}
    return SalesforceConnection(**(shape | {"type": "salesforce", "login_url": url} | settings))


def make_target(
    url: str, *, connection: dict[str, Any] | None = None, mirror: bool = False, **options: Any
) -> SalesforceTarget:
    export = SalesforceExport(**({"object": "Contact"} | options))
    return SalesforceTarget(make_connection(url, **(connection or {})), export, mirror=mirror, spread=random.Random(7))


def make_context(
    ledger: Ledger, *, control: Control | None = None, events: list[Event] | None = None, **others: Any
) -> ExportContext:
    heard: list[Event] = [] if events is None else events
    return ExportContext(
        job="contacts",
        run_id=1,
        scheduled_time=datetime(2026, 11, 23, 3, tzinfo=UTC),
        ledger=ledger,
        control=control or QuickControl(),
        listen=heard.append,
        **others,
    )
