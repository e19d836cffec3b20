"""The end of a run whose spool is gone, or whose host is: what is certain of it is settled, and the rest is named."""

from exporter.connections import SalesforceExport
from exporter.report import ExportReport
from exporter.targets.fates import known
from scheduler.job import Job
from scheduler.spools import binding_of
from scheduler.work import RunWork, StoredLedger
from storage import rejections

MAX_DOUBTS = 3
"""How many batches in doubt a message names; `runs show` has them all."""


def report_so_far(work: RunWork) -> ExportReport:
    """Count what is certain: what this attempt heard before anything was sent, then what the ledger has of all of them.

    No spool is asked: one that is gone, or damaged, must not hide rows that are in the target.
    """
    heard, rows = work.progress, work.entries()
    unchanged = heard.changes.unchanged if heard.changes is not None else 0
    if not rows:
        return ExportReport(read=heard.read, accepted=heard.accepted, rejected=heard.rejected, unchanged=unchanged)
    proven, binding = known(StoredLedger(work)).report, binding_of(rows)
    with work.database.read() as session:
        kept = rejections.count(session, work.run.id)
    return ExportReport(
        read=heard.read if binding is None else binding.rows + binding.unchanged,
        accepted=proven.accepted,
        rejected=max(proven.rejected, kept),
        unchanged=unchanged if binding is None else binding.unchanged,
        deleted=proven.deleted,
        refusals=proven.refusals,
    )


def account(work: RunWork, job: Job) -> str:
    """Say in one line what is known of a run that nobody can go on with, and what to do."""
    binding, found = work.binding(), known(StoredLedger(work))
    batches = binding.batches if binding is not None else None
    of = f" of {batches:,}" if batches is not None else ""
    words = [f"{found.settled:,}{of} batches are complete ({found.report.accepted:,} rows accepted)"]
    if found.doubts:
        more = f" and {len(found.doubts) - MAX_DOUBTS:,} more" if len(found.doubts) > MAX_DOUBTS else ""
        words.append(f"in doubt: {', '.join(found.doubts[:MAX_DOUBTS])}{more}")
        if isinstance(job.export.options, SalesforceExport):
            words.append("Setup > Bulk Data Load Jobs shows what became of them")
    if batches is not None and (left := batches - found.settled - len(found.doubts)) > 0:
        words.append(f"{left:,} batches were not sent")
    return f"{'; '.join(words)}. {_way(work, job)}"


def _way(work: RunWork, job: Job) -> str:
    number = work.run.id
    if job.changes != "all":
        return f"schedctl resync {job.name} has the next run send what the target lacks"
    if getattr(job.export.options, "mode", None) == "append":
        return (
            "Compare the target's records with the query's rows and add what is missing; "
            f"schedctl retry {number} --again sends all rows of the slot once more"
        )
    return f"schedctl retry {number} sends all rows of the slot, which leaves none there twice"
