"""What the steps of one export share."""

from dataclasses import dataclass

from exporter.events import Listener
from exporter.spool.spool import Spool, SpoolManifest
from exporter.targets.salesforce.api.client import Client
from exporter.targets.salesforce.delivery.export_state import Standing
from exporter.targets.salesforce.delivery.journal import Journal
from exporter.targets.salesforce.export_plan import Operation, Plan
from exporter.targets.salesforce.preparation.id_lookup import IdLookup


@dataclass(frozen=True, kw_only=True)
class ExportWork:
    """One leg of an export under way: what it does, with which spool, over which client.

    ``standing`` follows ``journal``. ``lookup`` knows the rows' Ids, where they are looked up.
    """

    plan: Plan
    spool: Spool
    manifest: SpoolManifest
    client: Client
    journal: Journal
    standing: Standing
    listen: Listener
    lookup: IdLookup | None = None

    @property
    def is_removal(self) -> bool:
        """Whether the rows are only Ids of records to delete, and none of the query's."""
        return self.plan.operation in (Operation.DELETE, Operation.HARD_DELETE)
