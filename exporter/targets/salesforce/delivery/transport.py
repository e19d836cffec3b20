"""What carries batches to Salesforce: one Bulk API behind what :class:`~.delivery.Delivery` needs of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from exporter.events import Warned
from exporter.failures import transient
from exporter.targets.salesforce.api.row_results import RowResult
from exporter.targets.salesforce.delivery.export_context import ExportWork
from exporter.targets.salesforce.delivery.export_state import Sending
from exporter.targets.salesforce.delivery.journal import Fact

MAX_STOPS = 3
"""How many BulkJobs may be ended externally while a run uses them, before that is taken for what others want."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """Salesforce is done with a sending. ``whole`` says that every row was processed, whatever became of each.

    Otherwise ``processed`` is how many were, as far as is known, and ``message`` why it stopped. ``stopped`` says that
    it was somebody's doing and no failure.
    """

    sending: Sending
    whole: bool
    processed: int = 0
    message: str = ""
    stopped: bool = False


class Carrier(Protocol):
    """Hands batches over, each once, and tells what became of them. Methods raise ExportError, or what the owner does.

    All that it does is written to the leg's journal before and after, so that another process can go on from there.
    """

    def resume(self) -> None:
        """Find out what became of the sendings that an earlier attempt left unknown, and write that down."""

    def prepare(self) -> None:
        """Get ready to send."""

    def send(self, batch: int, content: bytes, rows: int) -> None:
        """Hand over ``rows`` rows of a batch; when this returns, Salesforce has them."""

    def ended(self) -> Iterator[Ending]:
        """Yield the sendings that Salesforce is done with."""

    def results(self, ending: Ending, content: bytes) -> Sequence[RowResult | None]:
        """Return what became of each row of a sending of ``content``, in its order; None: it was not processed.

        Empty if there are no results at all.
        """

    def tally(self, ending: Ending) -> Sequence[RowResult | None]:
        """Return what :meth:`results` does, in any order, of a sending whose content is gone."""

    def give_up(self, ending: Ending) -> None:
        """Take note that others stopped what a sending was in. Raises if that has happened too often."""

    def stop(self) -> None:
        """Have Salesforce begin nothing more of what was sent."""

    def close(self) -> None:
        """Close what is open when all is settled. What goes wrong is reported, for no row hangs on it."""


def note_stop(work: ExportWork, bulk_job: str, state: str) -> None:
    """Write down, and tell, that somebody else ended a BulkJob; what is left goes to another one.

    Raises transient ``BULK_JOB_STOPPED`` when that has happened too often to be an accident.
    """
    work.journal.note(Fact.JOB_OVER, bulk_job=bulk_job, state=state)
    message = f"BulkJob {bulk_job} is {state}: it was closed or aborted externally"
    if work.standing.stopped_by_others >= MAX_STOPS:
        raise transient("BULK_JOB_STOPPED", f"{message}, as others before it: cancel the run if that is meant")
    work.listen(Warned(code="BULK_JOB_STOPPED", message=f"{message}: the rest goes to a new one"))
