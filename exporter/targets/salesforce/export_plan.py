"""From an export's settings to what Salesforce is asked to do. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum

from exporter.settings.salesforce import OLDEST_SAFE_API_VERSION, SalesforceExport


class Operation(StrEnum):
    """What a BulkJob does with each row; the values are Salesforce's words, and case matters there."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"
    HARD_DELETE = "hardDelete"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One export as Salesforce sees it.

    ``key`` names the field by which rows find their records: an external id for an upsert, ``Id`` for an update (any
    other field, if ``lookup`` tells that the Ids are looked up by it), None for an insert. ``removal`` is how all
    records are deleted beforehand, if they are; ``mirror`` tells that those of keys which left the result are deleted
    afterwards. ``concurrency`` is ``Parallel`` or ``Serial``.
    """

    object: str
    operation: Operation
    key: str | None
    concurrency: str
    api_version: str
    bulk_api: str = "1"
    removal: Operation | None = None
    lookup: bool = False
    mirror: bool = False

    @property
    def external_id(self) -> str | None:
        """The field that the BulkJob is reported to upsert by, if it is an upsert."""
        return self.key if self.operation is Operation.UPSERT else None

    @property
    def row_key(self) -> str | None:
        """The column of what is sent that no two rows share, if there is one."""
        return "Id" if self.lookup else self.key

    @property
    def makes_records(self) -> bool:
        """Whether every accepted row is a record of its own, with an Id that no other has."""
        return self.operation is Operation.INSERT

    @property
    def has_ids(self) -> bool:
        """Whether accepted rows have Ids that can be told apart: platform events and big objects may have none."""
        return not self.object.lower().endswith(("__e", "__b"))

    @property
    def is_old(self) -> bool:
        """Whether Salesforce has announced the end of this API version."""
        return int(self.api_version.partition(".")[0]) < OLDEST_SAFE_API_VERSION

    def removing(self) -> "Plan":
        """Return the plan of the deletion that comes before. It is for a plan with ``removal`` only."""
        if self.removal is None:
            raise ValueError("nothing is to be removed")
        return replace(self, operation=self.removal, key="Id", removal=None, lookup=False)

    def mirroring(self) -> "Plan":
        """Return the plan of the deletion that a mirror ends with: by Id, which is looked up by any other key."""
        return replace(self, operation=Operation.DELETE, removal=None, lookup=self.key != "Id", mirror=False)


def make_plan(options: SalesforceExport, *, mirror: bool = False) -> Plan:
    """Return what ``options`` ask for; with ``mirror`` keys that leave the result lose their records."""
    operation = Operation.INSERT
    key = None
    removal = None
    if options.mode == "update" and options.key is not None:
        key = "Id" if options.key.lower() == "id" else options.key
        operation = Operation.UPSERT if options.upsert else Operation.UPDATE
    elif options.mode == "truncate":
        removal = Operation.HARD_DELETE if options.hard_delete else Operation.DELETE
    return Plan(
        object=options.object,
        operation=operation,
        key=key,
        concurrency="Serial" if options.concurrency_mode == "serial" else "Parallel",
        api_version=options.api_version,
        bulk_api=options.bulk_api,
        removal=removal,
        lookup=operation is Operation.UPDATE and key != "Id",
        mirror=mirror,
    )
