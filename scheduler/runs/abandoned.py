"""What is certain of a run that ended after it began to send, what is in doubt, and what to do, in words."""

from exporter.counted import counted
from exporter.failures import ExportError, FailureKind
from exporter.report import ExportReport
from exporter.settings.connection import SalesforceExport
from exporter.targets.row_outcomes import known
from scheduler.jobs.definition import Job
from scheduler.runs.context import RunWork, StoredLedger
from scheduler.runs.spool_identity import binding_of
from storage.runs import rejections

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


def account(work: RunWork, job: Job | None, *, has_spool: bool) -> str:
    """Say in one line what is known of a run that ends, and what to do; empty if nothing is in doubt or unsent.

    ``job`` is None if its definition cannot be read.
    """
    binding, found = work.binding(), known(StoredLedger(work))
    batches = binding.batches if binding is not None else None
    left = 0 if batches is None else max(0, batches - found.settled - found.under_way - found.held)
    if has_spool and not (found.doubts or found.held or left):
        return ""
    of = f" of {batches:,}" if batches is not None else ""
    are = "batch is" if (batches or found.settled) == 1 else "batches are"
    words = [f"{found.settled:,}{of} {are} complete ({counted(found.report.accepted, 'row')} accepted)"]
    if found.doubts:
        more = f" and {len(found.doubts) - MAX_DOUBTS:,} more" if len(found.doubts) > MAX_DOUBTS else ""
        words.append(f"in doubt: {', '.join(found.doubts[:MAX_DOUBTS])}{more}")
        if job is not None and isinstance(job.export.options, SalesforceExport):
            words.append("Setup > Bulk Data Load Jobs shows what became of them")
    if found.held:
        have = "batch has" if found.held == 1 else "batches have"
        words.append(f"{found.held:,} {have} rows that were to be sent again")
    if left:
        words.append(f"{left:,} {'batch was' if left == 1 else 'batches were'} not sent")
    return f"{'; '.join(words)}. {_way(work, job, has_spool=has_spool)}"


def unasked_words(job: Job, error: ExportError) -> str:
    """Say why the target of a job did not tell what became of the rows."""
    name = "Salesforce" if isinstance(job.export.options, SalesforceExport) else "the target"
    verb = "could not tell" if error.kind in {FailureKind.INTERNAL, FailureKind.DATA} else "could not be asked"
    return f"{name} {verb} what became of the rows: {error.code}: {error.message}"


def _way(work: RunWork, job: Job | None, *, has_spool: bool) -> str:
    number = work.run.id
    if job is None or (has_spool and job.changes == "all" and is_append(job)):
        return f"schedctl retry {number} goes on where it stopped, and sends nothing twice"
    if job.changes != "all":
        if has_spool:
            return f"schedctl retry {number} sends what the target lacks"
        return f"schedctl resync {job.name} has the next run send what the target lacks"
    if is_append(job):
        return (
            "Compare the target's records with the query's rows and add what is missing; "
            f"schedctl retry {number} --again sends all rows of the slot once more"
        )
    return f"schedctl retry {number} sends all rows of the slot, which leaves none there twice"


def is_append(job: Job) -> bool:
    """Whether a row that the job sends twice is there twice."""
    return getattr(job.export.options, "mode", None) == "append"
