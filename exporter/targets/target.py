"""What every target does, whatever its kind: the protocol, and the context of one export."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from exporter.events import Listener
from exporter.ledger import Control, Ledger
from exporter.report import ExportReport
from exporter.rows.key_forms import Form

if TYPE_CHECKING:
    import pyarrow as pa

    from exporter.rows.casts import TextRules
    from exporter.spool.spool import Spool


@dataclass(frozen=True, kw_only=True)
class ExportContext:
    """One run's export: who it is for, its durable ledger, how it is stopped, and who listens to its events.

    ``gone`` is, for a mirror, the complete spool of the keys whose records are to be deleted, as one column.
    ``unchanged`` rows of the result are not in the spool, for the target has them. ``max_rejected`` is how many of the
    others (or which share, such as ``"5%"``) may be refused; with more, or with all of them, nothing is deleted.
    """

    job: str
    run_id: int
    scheduled_time: datetime
    ledger: Ledger
    control: Control
    listen: Listener
    gone: "Spool | None" = None
    unchanged: int = 0
    max_rejected: int | str | None = None


class Target(Protocol):
    """One open address that receives rows. Every failure is an ExportError."""

    def text_rules(self) -> "TextRules":
        """Return how this target wants its text, by which rows are compared with what it was sent before."""

    def prepare(self, names: Sequence[str], *, complete: bool, control: Control, listen: Listener) -> None:
        """Check, before a query is run, all that can be checked without its rows, and keep it for :meth:`export`.

        ``names`` are those columns whose names are known beforehand; ``complete`` says that there are no others.
        """

    def key_form(self, *, control: Control, listen: Listener) -> Form | None:
        """Return how the target compares the values of the export's key; None for an export without one."""

    def fill(self, rows: "pa.RecordBatchReader", spool: "Spool", *, control: Control, listen: Listener) -> None:
        """Write every row into the spool as ready-to-send files and close the manifest. Nothing is sent.

        Rows that cannot be written for this target are kept in the spool as rejected rows, with code and message.
        Whatever ``rows`` raises passes through, and the spool is then not complete.
        """

    def export(self, spool: "Spool", context: ExportContext) -> ExportReport:
        """Preflight, then send what the spool holds, each row once, whatever the ledger says was done before.

        May be called again after a crash at any instant, by another process, with the same spool and ledger, and
        goes on where they say it stood. Returns only when every row is accounted for: the report adds up.
        """

    def abort(self, spool: "Spool", context: ExportContext) -> None:
        """Stop what an earlier :meth:`export` of the run left going on at the target, as far as that can be done."""

    def abandon(self, context: ExportContext) -> None:
        """Do what :meth:`abort` does for a run whose spool is gone, and settle what the target can still tell of it.

        Rejected rows are counted, but their values are gone with the spool.
        """

    def check(self, columns: "pa.Schema | None" = None) -> None:
        """Log in and check the settings (and the columns, if given) without writing anything; raise what is wrong."""
