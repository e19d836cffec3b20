"""From an export's settings to what Salesforce is asked to do. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from exporter.failures import configuration
from exporter.salesforce_settings import OLDEST_SAFE_API_VERSION, SalesforceExport


class Operation(StrEnum):
    """What a BulkJob does with each row; the values are Salesforce's words, and case matters there."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One export as Salesforce sees it.

    ``key`` names the field by which rows find their records: an external id for an upsert, ``Id`` for an update, None
    for an insert. ``concurrency`` is ``Parallel`` or ``Serial``.
    """

    object: str
    operation: Operation
    key: str | None
    concurrency: str
    api_version: str

    @property
    def external_id(self) -> str | None:
        """The field that the BulkJob is told to upsert by, if it is an upsert."""
        return self.key if self.operation is Operation.UPSERT else None

    @property
    def is_old(self) -> bool:
        """Whether Salesforce has announced the end of this API version."""
        return int(self.api_version.partition(".")[0]) < OLDEST_SAFE_API_VERSION


def make_plan(options: SalesforceExport) -> Plan:
    """Return what ``options`` ask for. Raises configuration ``UPDATE_KEY`` for an update by another key than Id."""
    operation = Operation.INSERT
    key = None
    if options.mode == "truncate" or options.bulk_api == "2":
        raise configuration("MODE", f"mode = {options.mode}, bulk_api = {options.bulk_api}: not in this version yet")
    if options.mode == "update" and options.key is not None:
        key = "Id" if options.key.lower() == "id" else options.key
        operation = Operation.UPSERT if options.upsert else Operation.UPDATE
        if operation is Operation.UPDATE and key != "Id":
            raise configuration(
                "UPDATE_KEY",
                f'mode = "update" without upsert goes by Id only: set upsert = true for key = "{key}", or key = "Id"',
            )
    return Plan(
        object=options.object,
        operation=operation,
        key=key,
        concurrency="Serial" if options.concurrency_mode == "serial" else "Parallel",
        api_version=options.api_version,
    )
