"""What became of the rows that a run was to send, as its ledger has it: no target is asked."""

from collections.abc import Iterator

from exporter.ledger import Ledger
from exporter.report import Known
from exporter.settings.connection import ExportOptions, SalesforceExport
from exporter.spool.spool import Spool


def fates(options: ExportOptions, spool: Spool, ledger: Ledger) -> Iterator[tuple[int, bool]]:
    """Yield the numbers of the spool's rows that were handed over, and whether it is known what became of each.

    Of a row that is known, the target has it unless it is among the run's rejected rows. Raises ExportError.
    """
    if isinstance(options, SalesforceExport):
        from exporter.targets.salesforce.delivery.export_state import Standing  # noqa: PLC0415 - the same
        from exporter.targets.salesforce.delivery.journal import Journal  # noqa: PLC0415 - only what is asked for

        manifest, standing = spool.manifest(), Standing()
        Journal(ledger, standing.follow)
        for batch in manifest.batches if manifest is not None else ():
            yield from standing.fates(batch.number, batch.row_numbers())
        return
    from exporter.targets.file import target  # noqa: PLC0415 - the same

    yield from target.fates(spool, ledger)


def known(ledger: Ledger) -> Known:
    """Return what the ledger alone proves of an export, whatever its target is: its counts, and what is in doubt."""
    if any(entry.step.startswith("file.") for entry in ledger.entries()):
        from exporter.targets.file import target  # noqa: PLC0415 - only what is asked for

        return target.known(ledger)
    from exporter.targets.salesforce.delivery import ledger_facts as of_salesforce  # noqa: PLC0415 - the same

    return of_salesforce.known(ledger)


def kept(options: ExportOptions, gone: Spool, ledger: Ledger) -> Iterator[tuple[int, int]]:
    """Yield, as ranges of their numbers in ``gone``, the keys that left and whose records are not known to be gone."""
    if isinstance(options, SalesforceExport):
        from exporter.targets.salesforce.deletion.mirror import Mirroring  # noqa: PLC0415 - only what is asked for

        yield from Mirroring(ledger, gone).kept()


def inserts(options: ExportOptions) -> bool:
    """Whether a row that is sent twice would be there twice."""
    return isinstance(options, SalesforceExport) and options.mode != "update"
