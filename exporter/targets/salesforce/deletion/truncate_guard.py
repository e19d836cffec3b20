"""What a truncate or a mirror may not do: delete records where the rows that are to be there cannot go in. Pure."""

from exporter.failures import ExportError, FailureKind
from exporter.report import ExportReport, Refusal, exceeds, merge_refusals
from exporter.settings.salesforce import SalesforceExport
from exporter.spool.spool import SpoolManifest


def check_truncate(options: SalesforceExport, manifest: SpoolManifest) -> None:
    """Raise data ``EMPTY_RESULT`` if a truncate would leave the object empty and nobody said that it may.

    ``allow_empty`` speaks of results without rows; where rows came and none of them can be sent, something is wrong.
    """
    if options.mode != "truncate" or manifest.batches:
        return
    if manifest.rows:
        message = f"none of the {manifest.rows} rows can be sent: {options.object} is left as it is"
    elif options.allow_empty:
        return
    else:
        message = (
            f"the query gave no rows: {options.object} is left as it is; set allow_empty = true if it may be emptied"
        )
    raise ExportError(FailureKind.DATA, "EMPTY_RESULT", message)


def check_refusals(
    name: str, found: ExportReport, doubtful: int, doubts: tuple[Refusal, ...], max_rejected: int | str | None
) -> None:
    """Raise data if so many rows would be rejected that no record of the object ``name`` may be deleted for them.

    ``found`` counts the rows of the result and those that are rejected already; ``doubtful`` others will be rejected
    for ``doubts`` unless something in the org corrects them first. All of them: ``ROWS_DO_NOT_FIT``; more than
    ``max_rejected``: ``TOO_MANY_REJECTED``.
    """
    sent = found.read - found.unchanged
    lost = min(sent, found.rejected + doubtful)
    if not lost:
        return
    first = merge_refusals(found.refusals, doubts)[:1]
    why = "".join(f": {each.code}: {each.message} ({each.count})" for each in first)
    unless = (
        f"; of these, {doubtful} would be rejected unless a flow or a trigger of the org corrects them first"
        if doubtful
        else ""
    )
    end = f"so no record is deleted for them and nothing is sent{why}{unless}. Change the query so that the rows fit"
    if lost == found.read:
        rows = "the only row" if lost == 1 else f"all {lost} rows"
        raise ExportError(FailureKind.DATA, "ROWS_DO_NOT_FIT", f"{rows} for {name} would be rejected, {end}")
    if exceeds(lost, sent, max_rejected):
        raise ExportError(
            FailureKind.DATA,
            "TOO_MANY_REJECTED",
            f"{lost} of {sent} rows for {name} would be rejected (max_rejected = {max_rejected}), {end}",
        )
