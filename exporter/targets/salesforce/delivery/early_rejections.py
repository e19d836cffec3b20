"""The rows of a spool that are refused before anything is sent, written down with their reasons."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.events import BatchSettled
from exporter.report import Refusal, RejectedRow, merge_refusals
from exporter.spool.spool import Spool, SpooledBatch
from exporter.targets.salesforce.api.query import Queries
from exporter.targets.salesforce.api.row_results import RowResult, refusal_of, write_refusals
from exporter.targets.salesforce.delivery.export_context import ExportWork
from exporter.targets.salesforce.delivery.journal import Fact
from exporter.targets.salesforce.export_plan import Operation
from exporter.targets.salesforce.fields import Field
from exporter.targets.salesforce.preparation.id_lookup import build_lookup
from exporter.targets.salesforce.preparation.key_check import NULLS, KeyCheck, key_form
from exporter.targets.salesforce.row_ranges import read_columns, read_ranges, write_ranges

if TYPE_CHECKING:
    from exporter.targets.salesforce.preparation.cell_check import CheckedColumn


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
    from exporter.targets.salesforce.preparation.cell_check import CellChecks  # noqa: PLC0415 - pyarrow takes 0.2 s

    columns = tuple(columns)
    checks, misfits = CellChecks(columns, doubts=doubts), tuple[Refusal, ...]()
    doubted = bytearray(work.manifest.rows + 1 if doubts else 0)
    for batch in work.manifest.batches if checks.names else ():
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
                doubted[numbers[each.index]] = True
                unsure.append(refusal_of(each.code, each.message, 1))
        _refuse(work, Fact.CELLS_REFUSED, batch, sure)
        misfits = merge_refusals(misfits, unsure)
    if doubts:
        for numbers, code, words in itertools.chain(_repeats(work, columns), _rootless(work, columns)):
            others = [number for number in numbers if not doubted[number]]
            for number in others:
                doubted[number] = True
            misfits = merge_refusals(misfits, [refusal_of(code, words, len(others))] if others else ())
    if doubtful := sum(doubted):
        work.journal.note(Fact.CELLS_CHECKED, doubtful=doubtful, reasons=write_refusals(misfits))


def _repeats(work: ExportWork, columns: Iterable["CheckedColumn"]) -> Iterator[tuple[list[int], str, str]]:
    """Yield the rows whose value of a unique field an earlier row has: Salesforce takes the first at most.

    They come batch by batch, with the code and the words.
    """
    for column in columns:
        is_key = work.plan.key is not None and column.field.name.lower() == work.plan.key.lower()
        if not column.is_own or not column.field.unique or is_key:
            continue
        form = key_form(column.field, upsert=False)
        check = KeyCheck(work.spool, work.manifest, column.name, form=form, refused=work.standing.refused)
        words = f"{column.name}: an earlier row of the result has the same value, and the field is unique"
        for batch in work.manifest.batches:
            work.client.check()
            yield check.repeated(batch), "DUPLICATE_VALUE", words


def _rootless(work: ExportWork, columns: Iterable["CheckedColumn"]) -> Iterator[tuple[list[int], str, str]]:
    """Yield all rows if each names a parent among the records that are deleted first: no row can be the first one.

    They come as from :func:`_repeats`.
    """
    paths = [column.name for column in columns if column.to_deleted and not column.is_own]
    if not paths:
        return
    for batch in work.manifest.batches:
        work.client.check()
        cells = read_columns(work.spool.read(batch), paths, left_out=batch.left_out)
        refused = frozenset(read_ranges(work.standing.refused.get(batch.number, "")))
        rows = zip(batch.row_numbers(), *(column.to_pylist() for column in cells.columns), strict=True)
        if any(number not in refused and NULLS.issuperset(parents) for number, *parents in rows):
            return
    words = f"{' and '.join(paths)}: every row names a parent, and the parents are deleted first; a root has none"
    for batch in work.manifest.batches:
        refused = frozenset(read_ranges(work.standing.refused.get(batch.number, "")))
        yield [number for number in batch.row_numbers() if number not in refused], "INVALID_FIELD", words


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
