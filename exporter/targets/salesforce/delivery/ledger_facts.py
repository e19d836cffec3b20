"""What the ledger of an export proves, leg by leg, without its spool and without a call."""

from dataclasses import replace

from exporter.ledger import Ledger
from exporter.report import Deletions, Known
from exporter.targets.salesforce.delivery.export_state import Standing
from exporter.targets.salesforce.delivery.journal import Journal, Leg
from exporter.targets.salesforce.export_plan import Plan


def legs_of(plan: Plan) -> dict[Leg, Plan]:
    """Return the plan of each leg that an export may have, in the order in which they come."""
    legs = {Leg.REMOVAL: plan.removing()} if plan.removal is not None else {}
    legs[Leg.WRITE] = plan
    if plan.mirror:
        legs[Leg.MIRROR] = plan.mirroring()
    return legs


def known(ledger: Ledger) -> Known:
    """Count the rows that are settled and the records that are deleted, and name the batches in doubt."""
    standings = {leg: Standing() for leg in Leg}
    for leg, standing in standings.items():
        Journal(ledger, standing.follow, leg=leg)
    removing = [each for leg, each in standings.items() if leg is not Leg.WRITE]
    deletions = Deletions(
        deleted=sum(each.report(0).accepted for each in removing),
        listed=standings[Leg.REMOVAL].listed,
        in_doubt=sum(sending.rows for each in removing for sending in each.sendings.values()),
    )
    write = standings[Leg.WRITE]
    return Known(
        report=replace(write.report(0), deleted=deletions.deleted),
        settled=len(write.settled),
        under_way=len(write.sendings),
        held=len(write.locked.keys() - write.sendings.keys()),
        doubts=tuple(doubt for leg, each in standings.items() for doubt in each.doubts(leg)),
        deletions=deletions,
    )
