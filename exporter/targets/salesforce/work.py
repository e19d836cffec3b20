"""What the steps of one export share."""

from dataclasses import dataclass

from exporter.events import Listener
from exporter.spool import Spool, SpoolManifest
from exporter.targets.salesforce.client import Client
from exporter.targets.salesforce.effects import Journal
from exporter.targets.salesforce.modes import Plan
from exporter.targets.salesforce.standing import Standing


@dataclass(frozen=True, kw_only=True)
class ExportWork:
    """One export under way: what it does, with which spool, over which client; ``standing`` follows ``journal``."""

    plan: Plan
    spool: Spool
    manifest: SpoolManifest
    client: Client
    journal: Journal
    standing: Standing
    listen: Listener
