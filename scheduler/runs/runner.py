"""One claimed run from its query to its settled outcome: source, mapping, spool, target, storage, in that order."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import structlog

from exporter.changes.rules import ChangeRules
from exporter.events import Listener, Progress, QueryBegunAgain, advance
from exporter.failures import ExportError, FailureKind, configuration, internal, transient
from exporter.report import ExportReport
from exporter.rows.mapping import apply_mapping
from exporter.settings.connection import Connection
from exporter.sources.registry import open_source
from exporter.sources.source import LeavableSource, Query, ReadAgainError, Source
from exporter.sql.dialects import dialect_of
from exporter.targets.registry import open_target
from exporter.targets.target import ExportContext, Target
from scheduler.config.build import Config
from scheduler.config.connections import make_ready
from scheduler.environment.clock import Clock, utc_now
from scheduler.jobs.change_rules import rules_of
from scheduler.jobs.definition import Job, UnreadableJobError
from scheduler.jobs.outline import Outline
from scheduler.observability.counters import METERS
from scheduler.outcomes.outcome import (
    Conclusion,
    conclude,
    conclude_cancel,
    conclude_error,
    conclude_timeout,
    with_account,
)
from scheduler.outcomes.policy import Policies
from scheduler.runs.abandoned import account, report_so_far, unasked_words
from scheduler.runs.cancellation import RunControl, RunStopped, StopReason
from scheduler.runs.change_tracking import Comparison, is_outdated, select_changes, stage
from scheduler.runs.context import RunWork, StoredLedger, log
from scheduler.runs.incremental import check_unfinished, is_incremental_append, last_slot
from scheduler.runs.resend import RETRIED, WITHOUT_TEXT, refused_rows
from scheduler.runs.settle import settle, stored_run
from scheduler.runs.spool_identity import GONE, LEDGER_GONE, attach, check_bound, has_acted
from scheduler.secrets.resolve import SecretError
from scheduler.sql.bind import bind
from storage.database import ClaimLost, Database, StorageError
from storage.engine.server_clock import shared_now
from storage.runs import ledger, rejections, runs
from storage.runs.runs import StoredRun

if TYPE_CHECKING:
    from exporter.changes.staging import Staging

LEASE_SECONDS = 30
"""How long a claim holds without renewal; a worker that is gone for longer has lost its runs."""
RENEW_SECONDS = 8.0
"""How often claims are renewed: three misses still leave time."""
ABORT_SECONDS = 60.0
"""How long a stopped run may take to settle with its target what it has done."""
BATCH_ROWS = 10_000
"""How many rows of a result are held at once, at most; fewer where they are wide."""
NOT_REPEATED = "The query was not run again, since it may give other rows now."
_SPOOL_FAULTS = frozenset({GONE, "SPOOL_DAMAGED", "SPOOL_INCOMPLETE"})
"""What is wrong with a spool from which something was sent already: nothing more can be sent from it."""
_NOT_ASKED = frozenset({FailureKind.TRANSIENT, FailureKind.CONFIGURATION})
"""Why a target did not say what became of the rows, although it may know."""


def perform(work: RunWork) -> StoredRun:
    """Run a claimed run to the end of its attempt and settle it; returns the run as it is then stored.

    Raises ClaimLost if another process took it meanwhile (then nothing more was written or sent), and StorageError if
    the state database went away (then the claim runs out, and whoever takes it goes on from the ledger).
    """
    try:
        job = Job.from_dict(work.run.definition)
    except UnreadableJobError as error:
        message = f"the stored job cannot be read: {error.reason}; change it, then schedctl retry {work.run.id}"
        failure = configuration("JOB_UNREADABLE", message)
        conclusion, policies = with_account(conclude_error(failure, report_so_far(work)), _account(work)), Policies()
    else:
        policies = _policies(job)
        ended = _attempt(work, job)
        if ended is None:
            return _hand_back(work)
        conclusion = ended
    settled = settle(work, conclusion, policies)
    METERS.ended(settled)
    return settled


def _attempt(work: RunWork, job: Job) -> Conclusion | None:
    """Make one attempt and judge it; None if the daemon drains, and another process is to go on with the run."""
    slot = work.run.scheduled_time.isoformat()
    METERS.began(work.run)
    log.info("run.started", attempt=work.run.attempt, scheduled_time=slot, kind=work.run.kind)
    if work.run.cancel_requested_at is not None:
        work.control.stop(StopReason.CANCELED)
    try:
        _find_spool(work)
        return conclude(_export(work, job), job.max_rejected, of_refused=work.run.reason == RETRIED)
    except RunStopped as stopped:
        if stopped.reason is StopReason.CLAIM_LOST:
            raise ClaimLost(work.run.id) from stopped
        return None if stopped.reason is StopReason.DRAINING else _stopped(work, job, stopped.reason)
    except ExportError as error:
        if error.code in _SPOOL_FAULTS and has_acted(work.entries()):
            return _without_spool(work, job, error)
        if error.code in _SPOOL_FAULTS:
            _renew_spool(work, error)
            return _failed(work, job, transient(error.code, error.message))
        return _failed(work, job, error)
    except StorageError as error:
        if error.code != "FULL" or work.spool.manifest() is not None:
            raise
        # What was read of the result took the room. It is gone by now, so that this can be stored.
        return _failed(work, job, transient("DISK_FULL", error.message))


def _find_spool(work: RunWork) -> None:
    """See that the run has its own spool, or none and nothing done yet: then the query may run."""
    rows = work.entries()
    attach(work.database, work.run, work.spool_root, rows, work.spool)
    if has_acted(rows):
        check_bound(work.spool, rows)
        return
    try:
        if rows:
            check_bound(work.spool, rows)
        else:
            work.spool.verify()
    except ExportError as error:
        _renew_spool(work, error)


def _renew_spool(work: RunWork, error: ExportError) -> None:
    """Throw a spool away from which nothing was sent: nothing is lost by asking the source once more."""
    log.warning("spool.renewed", code=error.code, message=error.message)
    with work.database.write() as session:
        ledger.forget(session, work.run.id, work.token)
    work.spool.discard()


def _policies(job: Job) -> Policies:
    return Policies(
        retry_limit=job.retry_limit,
        initial_retry_delay=timedelta(seconds=job.initial_retry_delay),
        disable_after=job.disable_after,
    )


def _export(work: RunWork, job: Job) -> ExportReport:
    spool = work.spool
    target = _open_target(work, job)
    if job.changes != "all" and is_outdated(work):
        log.info("changes.outdated")
        spool.discard()
    if spool.manifest() is None:
        names, complete = _known_columns(job)
        target.prepare(names, complete=complete, control=work.control, listen=work.hear)
        work.enter("query")
        _fill(work, job, target)
    manifest = spool.manifest()
    compared = Comparison.of(manifest) if job.changes != "all" else None
    if manifest is not None:
        work.progress = Progress(read=manifest.rows, rejected=manifest.rejected)
        if compared is not None:
            work.progress = advance(work.progress, compared.found())
    work.enter("export")
    unchanged = compared.counts.unchanged if compared is not None else 0
    report = target.export(spool, _context(work, job, unchanged=unchanged))
    if compared is not None:
        report = replace(report, read=report.read + unchanged, unchanged=unchanged)
    if report.deleted or compared is not None:
        work.write_progress()  # the only place where these counts are kept
    return report


def _known_columns(job: Job) -> tuple[list[str], bool]:
    """Return which columns go out, as far as the config says, and whether those are all."""
    if job.mapping is None:
        return [], False
    return [each.column for each in job.mapping.columns], not job.mapping.all_columns


def _fill(work: RunWork, job: Job, target: Target) -> None:
    if work.run.reason == RETRIED:
        rows = refused_rows(_refused(work), batch_rows=BATCH_ROWS)
        staging = _spool_or_stage(work, job, target, rows)
        _spool_changes(work, job, target, staging, whole=False)
        return
    with work.database.read() as session:
        last = last_slot(session, work.run, job)
        if is_incremental_append(job):
            check_unfinished(session, work.run, last)
    connection = _connection(work.config, job.source, "source")
    bound = bind(
        job.query,
        scheduled_time=work.run.scheduled_time,
        last_scheduled_time=last,
        params=job.params,
        engine=connection.type,
        dialect=dialect_of(connection),
    )
    source = open_source(connection, directory=Path(work.config.name).absolute().parent)
    work.control.on_stop(lambda: _stop_source(source, work.control))
    query = Query(
        sql=bound.sql,
        parameters=bound.parameters,
        identity=_identity(work.run),
        scheduled_time=work.run.scheduled_time,
    )
    while True:
        try:
            with source.read(query, batch_rows=BATCH_ROWS) as reader:
                mapped = apply_mapping(reader, job.mapping, segment=job.segment, exported_at=work.clock())
                staging = _spool_or_stage(work, job, target, mapped)
            break
        except ReadAgainError as error:
            work.control.check()
            work.hear(QueryBegunAgain(code=error.code, message=error.message))
        except ExportError:
            work.control.check()  # a canceled query looks like a failed one
            raise
    _spool_changes(work, job, target, staging, whole=True)


def _spool_or_stage(work: RunWork, job: Job, target: Target, rows: pa.RecordBatchReader) -> "Staging | None":
    """Spool all rows; or, of a job that sends changes, stage them, to be compared when the source is closed."""
    rules = _rules(work, job, target)
    if rules is not None:
        return stage(work, rules, rows, target)
    target.fill(rows, work.spool, control=work.control, listen=work.hear)
    return None


def _spool_changes(work: RunWork, job: Job, target: Target, staging: "Staging | None", *, whole: bool) -> None:
    """Spool those of the staged rows that differ from what was sent before."""
    rules = _rules(work, job, target)
    if staging is None or rules is None:
        return
    connection = _connection(work.config, job.export.connection, "export.connection")
    with select_changes(work, job, staging, rules, connection, whole=whole) as (chosen, spool):
        target.fill(chosen, spool, control=work.control, listen=work.hear)


def _rules(work: RunWork, job: Job, target: Target) -> ChangeRules | None:
    """Return how a job's rows are told apart: by a key of the target as the target does."""
    rules = rules_of(job)
    if rules is None or rules.form == "exact":
        return rules
    form = target.key_form(control=work.control, listen=work.hear)
    return replace(rules, form=form or rules.form)


def _stop_source(source: Source, control: RunControl) -> None:
    """Stop a query: permanently, or, where it can go on without us, for the process that will have the run next."""
    if isinstance(source, LeavableSource) and control.reason in (StopReason.DRAINING, StopReason.CLAIM_LOST):
        source.leave()
    else:
        source.cancel()


def _identity(run: StoredRun) -> str:
    """Return what no other run has, of this or another state database, and what no crash or new attempt changes."""
    parts = (run.id, run.job, run.kind, run.repeat, run.scheduled_time.isoformat(), run.created_at.isoformat())
    return "/".join(str(part) for part in parts)


def _refused(work: RunWork) -> Iterator[Mapping[str, str | None]]:
    """Yield the values of the rows that the run which this one repeats has refused, and that have a text."""
    after, original = 0, work.run.retry_of
    while original is not None:
        with work.database.read() as session:
            page = rejections.read(session, original, after=after)
        yield from (row.values for row in page if row.code not in WITHOUT_TEXT)
        if not page:
            return
        after = page[-1].number


def _open_target(work: RunWork, job: Job) -> Target:
    connection = _connection(work.config, job.export.connection, "export.connection")
    return open_target(connection, job.export.options, mirror=job.changes == "mirror")


def _context(work: RunWork, job: Job, *, has_spool: bool = True, unchanged: int = 0) -> ExportContext:
    compared = Comparison.of(work.spool.manifest()) if job.changes == "mirror" and has_spool else None
    return ExportContext(
        gone=compared.gone(work.spool) if compared is not None else None,
        job=job.name,
        run_id=work.run.id,
        scheduled_time=work.run.scheduled_time,
        ledger=StoredLedger(work, has_spool=has_spool),
        control=work.control,
        listen=work.hear,
        unchanged=unchanged,
        max_rejected=job.max_rejected,
    )


def _connection(config: Config, name: str, key: str) -> Connection:
    if name not in config.connections:
        known = ", ".join(sorted(config.connections)) or "none"
        raise configuration("UNKNOWN_CONNECTION", f"{key} = {name!r}: connection not found (known: {known})")
    try:
        return make_ready(config, name)
    except SecretError as error:
        raise configuration("SECRET_UNAVAILABLE", f"connection {name!r}: {error}") from error


def _stopped(work: RunWork, job: Job, reason: StopReason) -> Conclusion:
    """Undo what can be undone at the target of a run that a person or its timeout stopped."""
    _abort(work, job)
    report = report_so_far(work)  # after the abort, which settles what was done
    timed_out = reason is StopReason.TIMED_OUT
    conclusion = conclude_timeout(job.timeout, report) if timed_out else conclude_cancel(report)
    return with_account(conclusion, _account(work, job))


def _failed(work: RunWork, job: Job, error: ExportError) -> Conclusion:
    """Conclude a failed attempt; if no other follows, learn first, and say, what became of the rows that were sent."""
    if _is_tried_again(work, job, error):
        return conclude_error(error, report_so_far(work))
    if error.kind is FailureKind.TRANSIENT and work.entries():
        _abort(work, job)
    conclusion = conclude_error(error, report_so_far(work))
    # A ledger that knows less than the spool cannot say what was not sent, and nobody can go on by it.
    return conclusion if error.code == LEDGER_GONE else with_account(conclusion, _account(work, job))


def _is_tried_again(work: RunWork, job: Job, error: ExportError) -> bool:
    return error.kind is FailureKind.TRANSIENT and work.run.attempt <= job.retry_limit


def _account(work: RunWork, job: Job | None = None) -> str:
    """Say what is in doubt or unsent of a run that ends with its spool in place; empty if it never did anything."""
    return account(work, job, has_spool=True) if has_acted(work.entries()) else ""


def _without_spool(work: RunWork, job: Job, error: ExportError) -> Conclusion:
    """Conclude an attempt of a begun run whose spool has gone, as ``error`` says: nobody can go on with it.

    While the target cannot be asked what became of the rows, but may be later, the run waits for its next attempt.
    """
    log.error("spool.gone", message=error.message)
    unasked = _abort(work, job, has_spool=False)
    if unasked is not None and _is_tried_again(work, job, unasked):
        message = f"the spool is gone ({error.message}), and {unasked_words(job, unasked)}"
        return conclude_error(transient(unasked.code, message), report_so_far(work))
    return _conclude_unspooled(work, job, internal(GONE, f"{error.message}. {NOT_REPEATED}"), unasked)


def _conclude_unspooled(
    work: RunWork, job: Job, error: ExportError, unasked: ExportError | None, *, has_spool: bool = False
) -> Conclusion:
    """Conclude a run that no daemon goes on with, with what is settled and what is in doubt."""
    report = report_so_far(work)
    if report.adds_up and job.changes == "all":  # all rows are accounted for, so that nobody needs the spool
        return conclude(report, job.max_rejected, of_refused=work.run.reason == RETRIED)
    words = unasked_words(job, unasked).rstrip(".") if unasked is not None else ""
    asked = f"{words[0].upper()}{words[1:]}. " if words else ""
    told = internal(error.code, f"{error.message} {asked}{account(work, job, has_spool=has_spool)}".rstrip())
    return conclude_error(told, report)


def _abort(work: RunWork, job: Job, *, has_spool: bool = True) -> ExportError | None:
    """Have the target begin nothing more, and settle what it has done, for a minute at the most.

    Returns why that did not work; None if it did.
    """
    abort = RunControl(timeout=ABORT_SECONDS)
    kept, work.control = work.control, abort
    try:
        target = _open_target(work, job)
        if has_spool:
            try:
                target.abort(work.spool, _context(work, job))
            except ExportError as error:
                if error.code not in _SPOOL_FAULTS:
                    raise
                target.abandon(_context(work, job, has_spool=False))
        else:
            target.abandon(_context(work, job, has_spool=False))
    except (ExportError, RunStopped) as error:
        log.warning("run.abort_failed", code=getattr(error, "code", "STOPPED"), message=str(error))
        if isinstance(error, RunStopped):
            return transient("READ_TIMEOUT", f"it did not answer within {ABORT_SECONDS:.0f} s")
        return error
    finally:
        work.control = kept
    return None


def _hand_back(work: RunWork) -> StoredRun:
    with work.database.write() as session:
        runs.release(session, work.run.id, work.token, now=work.clock())
    log.info("run.handed_back")
    return stored_run(work)


def execute(
    database: Database,
    config: Config,
    run: StoredRun,
    *,
    owner: str,
    spool_root: Path,
    place: str | None = None,
    listen: Listener = lambda _event: None,
    clock: Clock = utc_now,
) -> StoredRun:
    """Run one claimed run outside the daemon, keeping its claim alive meanwhile; returns it as it is then stored.

    Raises as :func:`perform` does. KeyboardInterrupt hands the run back for the daemon to go on with.
    """
    control = RunControl(timeout=Outline(run.definition).timeout)
    work = RunWork(
        database=database,
        config=config,
        run=run,
        spool_root=spool_root,
        control=control,
        listen=listen,
        clock=clock,
        place=place,
    )
    with structlog.contextvars.bound_contextvars(job=run.job, run=run.id), _kept_alive(work, owner):
        return perform(work)


class NotAskedError(Exception):
    """The target could not be asked what became of a run's rows; ``reason`` is why, in words."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def abandon(
    database: Database,
    config: Config,
    run: StoredRun,
    *,
    owner: str,
    spool_root: Path,
    even_unasked: bool = False,
    clock: Clock = utc_now,
) -> StoredRun:
    """End one claimed run that has begun, for a person who gives it up, without sending anything more.

    What the target can tell of what was sent is settled, and the rest named; the outcome is ``failed`` with the code
    ``ABANDONED``. If the target cannot be asked, the run is given back as it was, and NotAskedError raised, unless
    ``even_unasked``: then the ledger alone says what is settled. Raises ClaimLost and StorageError as :func:`perform`
    does.
    """
    job = Job.from_dict(run.definition)
    control = RunControl(timeout=2 * ABORT_SECONDS)
    work = RunWork(database=database, config=config, run=run, spool_root=spool_root, control=control, clock=clock)
    with structlog.contextvars.bound_contextvars(job=run.job, run=run.id), _kept_alive(work, owner):
        unasked = _abort(work, job, has_spool=False)
        if unasked is not None and unasked.kind in _NOT_ASKED and not even_unasked:
            _hand_back(work)
            raise NotAskedError(unasked_words(job, unasked))
        given_up = internal("ABANDONED", "A person ended the run with schedctl runs abandon.")
        has_spool = job.changes == "all" and _has_bound_spool(work)
        return settle(work, _conclude_unspooled(work, job, given_up, unasked, has_spool=has_spool), _policies(job))


def _has_bound_spool(work: RunWork) -> bool:
    """Whether the run's spool can be read here, so that a later retry of the run can send the rest from it."""
    try:
        check_bound(work.spool, work.entries())
    except ExportError:
        return False
    return True


@contextmanager
def _kept_alive(work: RunWork, owner: str) -> Iterator[None]:
    """Renew the claim, look for a cancel request and at the deadline, in a thread, while the block goes on."""
    control = work.control  # the run's own: while it is aborted, `work` has another, which a cancel must not stop
    done = threading.Event()

    def keep() -> None:
        while not done.wait(1.0):
            try:
                keep_once(work.database, owner, {work.run.id: control}, work.clock)
            except StorageError as error:
                log.warning("claims.not_renewed", message=error.message)

    thread = threading.Thread(target=keep, name="claim-keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def keep_once(database: Database, owner: str, controls: dict[int, RunControl], clock: Clock) -> None:
    """Renew the owner's claims and tell those runs to stop that were canceled or whose time is over."""
    for control in controls.values():
        control.tick()
    with database.write() as session:
        now = shared_now(session, clock())
        runs.renew_claims(session, owner=owner, now=now, lease_seconds=LEASE_SECONDS)
        canceled = runs.cancel_requested(session, owner)
    for run_id in canceled & controls.keys():
        controls[run_id].stop(StopReason.CANCELED)
