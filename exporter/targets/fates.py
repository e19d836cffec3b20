"""What became of the rows that a run was to send, as its ledger has it: no target is asked."""

from collections.abc import Iterator

from exporter.connections import ExportOptions, SalesforceExport
from exporter.ledger import Ledger
from exporter.report import Deletions
from exporter.spool import Spool


def fates(options: ExportOptions, spool: Spool, ledger: Ledger) -> Iterator[tuple[int, bool]]:
    """Yield the numbers of the spool's rows that were handed over, and whether it is known what became of each.

    Of a row that is known, the target has it unless it is among the run's rejected rows. Raises ExportError.
    """
    if isinstance(options, SalesforceExport):
        from exporter.targets.salesforce.effects import Journal  # noqa: PLC0415 - only what is asked for
        from exporter.targets.salesforce.standing import Standing  # noqa: PLC0415 - the same

        manifest, standing = spool.manifest(), Standing()
        Journal(ledger, standing.follow)
        for batch in manifest.batches if manifest is not None else ():
            yield from standing.fates(batch.number, batch.row_numbers())
        return
    from exporter.targets import file  # noqa: PLC0415 - the same

    yield from file.fates(spool, ledger)


def kept(options: ExportOptions, gone: Spool, ledger: Ledger) -> Iterator[tuple[int, int]]:
    """Yield, as ranges of their numbers in ``gone``, the keys that left and whose records are not known to be gone."""
    if isinstance(options, SalesforceExport):
        from exporter.targets.salesforce.mirroring import Mirroring  # noqa: PLC0415 - only what is asked for

        yield from Mirroring(ledger, gone).kept()


def deletions(options: ExportOptions, ledger: Ledger) -> Deletions:
    """Return what a run has deleted at its target, before its rows went out or after, over all of its attempts."""
    if not isinstance(options, SalesforceExport):
        return Deletions()
    from exporter.targets.salesforce.effects import Journal, Leg  # noqa: PLC0415 - only what is asked for
    from exporter.targets.salesforce.standing import Standing  # noqa: PLC0415 - the same

    removal, mirror = Standing(), Standing()
    for standing, leg in ((removal, Leg.REMOVAL), (mirror, Leg.MIRROR)):
        Journal(ledger, standing.follow, leg=leg)
    return Deletions(
        deleted=sum(each.report(0).accepted for each in (removal, mirror)),
        listed=removal.listed,
        in_doubt=sum(sending.rows for each in (removal, mirror) for sending in each.sendings.values()),
        hard=options.hard_delete,
    )


def inserts(options: ExportOptions) -> bool:
    """Whether a row that is sent twice would be there twice."""
    return isinstance(options, SalesforceExport) and options.mode != "update"
