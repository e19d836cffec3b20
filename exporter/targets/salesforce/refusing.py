"""The rows of a spool that are refused before anything is sent, written down with their reasons."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.events import BatchSettled
from exporter.report import Refusal, RejectedRow, merge_refusals
from exporter.spool import Spool, SpooledBatch
from exporter.targets.salesforce.effects import Fact
from exporter.targets.salesforce.fields import Field
from exporter.targets.salesforce.keys import KeyCheck, key_form
from exporter.targets.salesforce.lookup import build_lookup
from exporter.targets.salesforce.modes import Operation
from exporter.targets.salesforce.query import Queries
from exporter.targets.salesforce.results import RowResult, refusal_of, write_refusals
from exporter.targets.salesforce.rows import read_columns, read_ranges, write_ranges
from exporter.targets.salesforce.work import ExportWork

if TYPE_CHECKING:
    from exporter.targets.salesforce.cells import CheckedColumn


def record_spooled(work: ExportWork) -> None:
    """Write down the rows that could not be written as text, some at a time."""
    for some in work.spool.rejected_after(work.standing.recorded_through):
        work.journal.note(
            Fact.SPOOL_REJECTED,
            rows=some,
            through=some[-1].number,
            rejected=len(some),
            refusals=_refusals(some),
        )


def refuse_cells(work: ExportWork, columns: Iterable["CheckedColumn"], *, doubts: bool) -> None:
    """Refuse the rows with a cell that cannot go into its field, batch by batch; with ``doubts`` count doubtful ones.

    The spool is read again only if the type of a column leaves that open.
    """
    from exporter.targets.salesforce.cells import CellChecks  # noqa: PLC0415 - pyarrow takes 0.2 s

    checks, doubtful, misfits = CellChecks(columns, doubts=doubts), 0, tuple[Refusal, ...]()
    if not checks.names:
        return
    for batch in work.manifest.batches:
        work.client.check()
        found = checks.look(read_columns(work.spool.read(batch), checks.names, left_out=batch.left_out))
        if not found:
            continue
        numbers = list(batch.row_numbers())
        refused = frozenset(read_ranges(work.standing.refused.get(batch.number, "")))
        sure: dict[int, RowResult] = {}
        unsure: list[Refusal] = []
        for each in found:
            if not each.doubtful:
                sure[numbers[each.index]] = RowResult(code=each.code, message=each.message)
            elif numbers[each.index] not in refused:
                unsure.append(refusal_of(each.code, each.message, 1))
        _refuse(work, Fact.CELLS_REFUSED, batch, sure)
        doubtful += len(unsure)
        misfits = merge_refusals(misfits, unsure)
    if doubtful:
        work.journal.note(Fact.CELLS_CHECKED, doubtful=doubtful, reasons=write_refusals(misfits))


def refuse_keys(work: ExportWork, key: Field) -> None:
    """Refuse the rows without a key and those that share one, batch by batch."""
    form = key_form(key, upsert=work.plan.operation is Operation.UPSERT)
    check = KeyCheck(work.spool, work.manifest, key.name, form=form)
    empty = RowResult(code="MISSING_ARGUMENT", message=f"{key.name} is empty")
    shared = RowResult(code="DUPLICATE_VALUE", message=f"another row of the result has the same {key.name}")
    for batch in work.manifest.batches:
        faults = dict.fromkeys(check.empty(batch), empty) | dict.fromkeys(check.shared(batch), shared)
        _refuse(work, Fact.KEYS_REFUSED, batch, faults)
    work.journal.note(Fact.KEYS_CHECKED)


def ids_directory(spool: Spool) -> Path:
    """Return where the Ids lie that were looked up for a spool's rows: in the spool, and gone with it."""
    return spool.directory / "ids"


def refuse_unfound(work: ExportWork, key: Field) -> None:
    """Look up the Ids by ``key``, and refuse the rows whose key belongs to no record or to several, batch by batch."""
    lookup = build_lookup(
        Queries(work.client, work.spool.directory),
        work.plan.object,
        key,
        work.spool,
        work.manifest,
        ids_directory(work.spool),
    )
    for batch in work.manifest.batches:
        _refuse(work, Fact.IDS_REFUSED, batch, lookup.faults(batch))
    work.journal.note(Fact.IDS_FOUND)


def _refuse(work: ExportWork, fact: Fact, batch: SpooledBatch, found: Mapping[int, RowResult]) -> None:
    """Write down the faults of a batch's rows by their numbers, but for rows that are refused already."""
    if not found:
        return
    refused = frozenset(read_ranges(work.standing.refused.get(batch.number, "")))
    faults = {number: fault for number, fault in found.items() if number not in refused}
    if not faults:
        return
    rows = _reject(work.spool, batch, faults)
    work.journal.note(
        fact,
        batch=batch.number,
        rows=rows,
        numbers=write_ranges(sorted(faults)),
        rejected=len(rows),
        left=batch.rows - len(refused) - len(faults),
        refusals=_refusals(rows),
    )
    work.listen(BatchSettled(batch=batch.number, accepted=0, rejected=len(rows)))


def _reject(spool: Spool, batch: SpooledBatch, faults: dict[int, RowResult]) -> list[RejectedRow]:
    return [
        RejectedRow(number=number, values=values, code=faults[number].code, message=faults[number].message)
        for number, values in spool.values(batch, faults)
    ]


def _refusals(rows: Iterable[RejectedRow]) -> list[dict[str, object]]:
    """Count rows by reasons that are our own words, and hold no value."""
    return write_refusals(merge_refusals((), (refusal_of(row.code, row.message, 1) for row in rows)))
