"""What a truncate may not do: empty an object because a query came back with nothing. Pure."""

from exporter.failures import ExportError, FailureKind
from exporter.salesforce_settings import SalesforceExport
from exporter.spool import SpoolManifest


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
