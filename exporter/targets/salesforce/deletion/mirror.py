"""What a mirror does once its rows are in: it deletes the records of the keys that left the result, softly.

Their Ids stay on disk beside the run's spool, as do those that a truncate deletes.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, cast

from exporter.events import Listener, RecordsDeleted
from exporter.failures import ExportError, FailureKind, configuration, internal
from exporter.ledger import Entry, Ledger
from exporter.report import Refusal, merge_refusals
from exporter.spool.spool import Spool, SpooledBatch, SpooledColumn, SpoolManifest
from exporter.targets.salesforce.api.describe import describe
from exporter.targets.salesforce.api.query import Queries
from exporter.targets.salesforce.api.row_results import RowResult, refusal_of, write_refusals
from exporter.targets.salesforce.deletion.truncate import telling_deletions
from exporter.targets.salesforce.delivery.delivery import Delivery
from exporter.targets.salesforce.delivery.early_rejections import ids_directory
from exporter.targets.salesforce.delivery.export_context import ExportWork
from exporter.targets.salesforce.delivery.export_state import Standing
from exporter.targets.salesforce.delivery.journal import Fact, Journal, Leg
from exporter.targets.salesforce.export_plan import Operation
from exporter.targets.salesforce.preparation.id_lookup import build_lookup, load_lookup
from exporter.targets.salesforce.row_ranges import read_ranges, read_records, write_ranges

_NOT_THERE = "ENTITY_NOT_FOUND"


class Mirroring:
    """The deleting leg of one export; where it stands is folded from the run's ledger."""

    def __init__(self, ledger: Ledger, spool: Spool) -> None:
        """``spool`` holds the keys, one column of the plan's key."""
        self._spool = spool
        self._standing = Standing()
        self._unclear: dict[int, str] = {}
        self._by_upsert = False
        self._journal = Journal(ledger, self._follow, leg=Leg.MIRROR)

    @property
    def is_done(self) -> bool:
        """Whether every record is deleted that could be."""
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
    def deleted(self) -> int:
        """How many records are gone so far by this run."""
        return self._standing.report(0).accepted

    @property
    def undeleted(self) -> int:
        """How many keys have a record that could not be deleted, once the leg is done."""
        return sum(last - first + 1 for first, last in self.kept())

    @property
    def reasons(self) -> tuple[Refusal, ...]:
        """Why."""
        return self._standing.report(0).refusals

    def kept(self) -> Iterator[tuple[int, int]]:
        """Yield, as ranges of numbers, the keys whose records are not known to be gone."""
        for batch in self._manifest().batches:
            standing = self._standing
            if batch.number not in standing.settled:
                yield batch.first_row, batch.first_row + batch.rows - 1
                continue
            left = [self._unclear.get(batch.number, ""), standing.left_out.get(batch.number, "")]
            for number in sorted(set(read_ranges(",".join(filter(None, left))))):
                yield number, number

    def finish(self, work: ExportWork) -> None:
        """Go on until every record is deleted that can be. Raises ExportError."""
        if self.is_done:
            return
        mirror = self._with_ids(self._work(work))
        self._keep_ids(work.spool.beside("deleted"), mirror)
        try:
            Delivery(mirror).finish()
        except ExportError as error:
            if error.kind is not FailureKind.TRANSIENT:
                Delivery(mirror).stop()
            raise
        self._journal.note(Fact.RECORDS_REMOVED)

    def stop(self, work: ExportWork) -> None:
        """Begin no more deletions, and count those that happened."""
        if self.is_under_way:
            Delivery(self._with_ids(self._work(work))).stop()

    def replay(self, listen: Listener) -> None:
        """Tell a later attempt's listener what earlier ones deleted."""
        if self.deleted:
            listen(RecordsDeleted(records=self.deleted))

    def _follow(self, entry: Entry) -> None:
        self._standing.follow(entry)
        if entry.step == Fact.IDS_REFUSED and entry.batch is not None:
            self._unclear[entry.batch] = str(cast("Any", entry.data)["unclear"])

    def _keep_ids(self, kept: Spool, work: ExportWork) -> None:
        """Write the Ids that are to be deleted beside the run's spool, which they outlast."""
        if kept.manifest() is not None:
            return
        with kept.begin() as writer:
            rows = 0
            for batch in self._manifest().batches:
                ids = work.lookup.ids(batch) if work.lookup is not None else self._ids(batch)
                if some := [each for each in ids if each]:
                    content = "".join(f'"{each}"\n' for each in chain(["Id"], some)).encode()
                    writer.add(content, rows=len(some), first_row=rows + 1)
                    rows += len(some)
            writer.close([SpooledColumn(name="Id", type="string")], rows=rows)

    def _ids(self, batch: SpooledBatch) -> list[str]:
        records = read_records(self._spool.read(batch))
        return [record[0] for record in islice(records, 1, None)]

    def _work(self, work: ExportWork) -> ExportWork:
        self._by_upsert = work.plan.operation is Operation.UPSERT
        return replace(
            work,
            plan=work.plan.mirroring(),
            spool=self._spool,
            manifest=self._manifest(),
            journal=self._journal,
            standing=self._standing,
            listen=telling_deletions(work.listen),
            lookup=None,
        )

    def _manifest(self) -> SpoolManifest:
        manifest = self._spool.manifest()
        if manifest is None:
            raise internal("SPOOL_DAMAGED", f"{self._spool.directory} does not hold the keys that left the result")
        return manifest

    def _with_ids(self, work: ExportWork) -> ExportWork:
        """Return the work with the records' Ids, looked up if that was not done, where the key is another field."""
        key = work.plan.key or ""
        if not work.plan.lookup:
            return work
        if not self._standing.ids_found:
            self._look_up(work, key)
        return replace(work, lookup=load_lookup(ids_directory(self._spool), key))

    def _look_up(self, work: ExportWork, key: str) -> None:
        found = describe(work.client, work.plan.object)
        field = found.field(key) if found is not None else None
        if field is None:
            raise configuration("UNKNOWN_FIELD", f"{work.plan.object} has no field {key} any more to delete by")
        queries = Queries(work.client, self._spool.directory)
        lookup = build_lookup(
            queries,
            work.plan.object,
            field,
            self._spool,
            work.manifest,
            ids_directory(self._spool),
            upsert=self._by_upsert,
        )
        for batch in work.manifest.batches:
            if batch.number in self._standing.refused:
                continue
            faults = lookup.faults(batch)
            if faults:
                self._note_refused(batch.number, faults, left=batch.rows - len(faults))
        self._journal.note(Fact.IDS_FOUND)

    def _note_refused(self, batch: int, faults: dict[int, RowResult], *, left: int) -> None:
        """Write down which keys have no record, which is as it should be, and which have several: those stay."""
        unclear = [number for number, fault in sorted(faults.items()) if fault.code != _NOT_THERE]
        counted = merge_refusals((), (refusal_of(faults[each].code, faults[each].message, 1) for each in unclear))
        self._journal.note(
            Fact.IDS_REFUSED,
            batch=batch,
            numbers=write_ranges(sorted(faults)),
            unclear=write_ranges(unclear),
            rejected=len(unclear),
            left=left,
            refusals=write_refusals(counted),
        )
