"""What a truncate does before its rows go out: list all records, delete them, and be sure that they are gone.

The Ids stay on disk beside the run's spool, in a directory called like it with ``-deleted`` at the end, until the run's
history is pruned: with them a soft delete can be undone from the recycle bin.
"""

from dataclasses import replace

from exporter.events import BatchSent, BatchSettled, Event, Listener, RecordsDeleted
from exporter.failures import ExportError, FailureKind, configuration, internal, transient
from exporter.ledger import Ledger
from exporter.report import Refusal
from exporter.spool.spool import Spool
from exporter.targets.salesforce.api.query import Queries
from exporter.targets.salesforce.deletion.id_list import collect_ids
from exporter.targets.salesforce.delivery.delivery import Delivery
from exporter.targets.salesforce.delivery.export_context import ExportWork
from exporter.targets.salesforce.delivery.export_state import Standing
from exporter.targets.salesforce.delivery.journal import Fact, Journal, Leg


class Truncation:
    """The removal leg of one export; its standing is folded from the run's ledger."""

    def __init__(self, ledger: Ledger, run_spool: Spool) -> None:
        self._standing = Standing()
        self._journal = Journal(ledger, self._standing.follow, leg=Leg.REMOVAL)
        self._spool = run_spool.beside("deleted")

    @property
    def is_done(self) -> bool:
        """Whether every record is known to be gone."""
        return self._standing.removed

    @property
    def has_begun(self) -> bool:
        """Whether records may be gone already."""
        return self._standing.began

    @property
    def is_under_way(self) -> bool:
        """Whether Salesforce may be deleting records now."""
        return not self.is_done and bool(self._standing.unclosed or self._standing.sendings)

    @property
    def org(self) -> str | None:
        """The id of the org where it deletes, where that is known."""
        return self._standing.org

    @property
    def deleted(self) -> int:
        """How many records are gone so far."""
        return self._standing.report(0).accepted

    def finish(self, work: ExportWork) -> None:
        """Go on until all records are gone. Raises ExportError, and then no row may be written."""
        if self.is_done:
            return
        if self._standing.listed is None:
            self._spool.discard()  # one that nobody wrote down may be of yesterday
            listed = collect_ids(Queries(work.client, work.spool.directory), work.plan.object, self._spool)
            self._journal.note(Fact.RECORDS_LISTED, records=listed.rows)
        self._reopen()
        removal = self._work(work)
        try:
            Delivery(removal).finish()
            self._verify(work.plan.object)
        except ExportError as error:
            if error.kind is not FailureKind.TRANSIENT:
                Delivery(removal).stop()
            raise
        self._journal.note(Fact.RECORDS_REMOVED)

    def stop(self, work: ExportWork) -> None:
        """Begin no more deletions, and count those that happened."""
        if self.is_under_way:
            Delivery(self._work(work)).stop()

    def replay(self, listen: Listener) -> None:
        """Tell a later attempt's listener what earlier ones deleted."""
        if self.deleted:
            listen(RecordsDeleted(records=self.deleted))

    def _work(self, work: ExportWork) -> ExportWork:
        manifest = self._spool.manifest()
        if manifest is None or manifest.rows != self._standing.listed:
            raise internal(
                "SPOOL_DAMAGED",
                f"{self._spool.directory} does not hold the Ids of the records that this run had begun to delete: "
                "nothing more is deleted, and nothing was inserted",
            )
        return replace(
            work,
            plan=work.plan.removing(),
            spool=self._spool,
            manifest=manifest,
            journal=self._journal,
            standing=self._standing,
            listen=telling_deletions(work.listen),
            lookup=None,
        )

    def _reopen(self) -> None:
        """Try those again that an earlier attempt could not delete."""
        for batch, numbers in list(self._standing.left_out.items()):
            if numbers:
                self._journal.note(Fact.ROWS_REOPENED, batch=batch, numbers=numbers)

    def _verify(self, name: str) -> None:
        report = self._standing.report(self._standing.listed or 0)
        if not report.adds_up:
            raise internal("COUNTS_DIFFER", f"{report.read} {name} records were listed, {report.accepted} are deleted")
        if report.rejected:
            raise _not_deleted(name, report.rejected, report.read, report.refusals)


def _not_deleted(name: str, left: int, listed: int, refusals: tuple[Refusal, ...]) -> ExportError:
    reasons = "; ".join(f"{each.code}: {each.message} ({each.count})" for each in refusals[:3])
    passing = all(each.kind is FailureKind.TRANSIENT for each in refusals)
    make = transient if passing and refusals else configuration
    return make(
        "NOT_DELETED",
        f"{left} of {listed} {name} records could not be deleted, so nothing was inserted: {reasons}",
    )


def telling_deletions(listen: Listener) -> Listener:
    """Return a listener to a deleting leg, of which the run's own hears only how many records are gone."""

    def tell(event: Event) -> None:
        if isinstance(event, BatchSettled):
            listen(RecordsDeleted(records=event.accepted))
        elif not isinstance(event, BatchSent):
            listen(event)

    return tell
