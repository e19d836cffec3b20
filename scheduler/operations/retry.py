"""What follows an ended run on a person's word: it goes on, or another one repeats all of it or its rejected rows."""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from exporter.counted import counted
from exporter.failures import ExportError
from exporter.ledger import Entry, Mark
from exporter.spool.spool import Spool
from exporter.targets.salesforce.delivery.export_state import Standing
from scheduler.environment.actors import record_action
from scheduler.errors.operation_error import failed, usage
from scheduler.jobs.definition import Job, UnreadableJobError
from scheduler.jobs.outline import Outline
from scheduler.nodes.process import lives
from scheduler.operations.runs import MAX_SEARCHED, get_run
from scheduler.runs.incremental import COMPLETED, NAME, is_incremental_append, is_uncertain
from scheduler.runs.resend import RETRIED, WITHOUT_TEXT
from scheduler.runs.spool_identity import (
    LEDGER_GONE,
    binding_of,
    check_bound,
    check_ledger,
    directory_of,
    find_place,
    has_acted,
    known_places,
    places_of,
)
from storage import nodes
from storage.database import Database, Session
from storage.engine.server_clock import shared_now
from storage.jobs import jobs
from storage.runs import ledger, rejections, runs
from storage.runs.runs import NewRun, StoredRun
from storage.values import Actor

_TAKEN = ("timeout", "retry_limit", "initial_retry_delay")
"""What a run that goes on takes from its job as it now is, besides the connection of its export."""
_BROKEN_OFF = frozenset({"failed", "canceled", "interrupted"})
"""The outcomes of runs that may have rows left to send."""


def retry(
    database: Database,
    run_id: int,
    now: datetime,
    *,
    again: bool = False,
    spool_root: Path | None = None,
    by: Actor | None = None,
) -> StoredRun:
    """Have an ended run go on where it stopped, or ask for its slot to be run again, by the job as it now is.

    An append that failed or was canceled after it began to send goes on as the same run, from its ledger and its spool
    in ``spool_root``, and sends nothing twice. Where that cannot be, an append that has rows in the target already is
    not repeated unless ``again``: they would be there twice. Raises not-found, and failed where it makes no sense.
    """
    before = _ended(database, run_id)
    if not again and before.reason == COMPLETED:
        raise failed(
            f"run {run_id} counts as completed by hand (schedctl runs abandon): schedctl retry {run_id} --again sends "
            "all of its rows"
        )
    if not again:
        _check_selected_since(database, before)
    obstacle: _Obstacle | None = None
    if spool_root is not None and not again and _is_unfinished(database, before):
        obstacle = _obstacle(database, before, spool_root, now)
        if obstacle is None:
            return _resume(database, before, now, by=by)
    if before.reason == RETRIED:
        raise failed(
            f"run {run_id} sent only the rejected rows of run {before.retry_of}: schedctl retry {run_id} --rejected "
            f"sends those that were rejected again, schedctl retry {before.retry_of} the whole slot"
        )
    with database.write() as session:
        definition = _definition(session, before)
        by_changes = not Outline(definition).sends_all  # such a run sends only what is not there
        if _mode(definition) == "append" and not again and not by_changes:
            _check_append(session, before, _object(definition), obstacle.why if obstacle is not None else None)
        return _insert(session, before, definition, reason=None, now=now, by=by)


def retry_rejected(
    database: Database, run_id: int, now: datetime, *, spool_root: Path | None = None, by: Actor | None = None
) -> tuple[StoredRun, int]:
    """Ask for a run of only the rejected rows of an ended one; return it, and how many rows cannot be part of it.

    Raises not-found, and failed where there are none, where they were sent again before, for a truncate, and for a run
    that can still go on from its spool in ``spool_root``: what it then has refused would be left behind.
    """
    before = _ended(database, run_id)
    if spool_root is not None and _is_unfinished(database, before):
        obstacle = _obstacle(database, before, spool_root, now)
        if obstacle is None or obstacle.may_pass:
            why = f" ({obstacle.why})" if obstacle is not None else ""
            raise failed(
                f"run {run_id} has rows that were not sent yet: schedctl retry {run_id} sends those first{why}, then "
                "--rejected sends all that were rejected"
            )
    with database.read() as session:
        others = runs.list_runs(session, job=before.job, limit=MAX_SEARCHED)
    repeats = [other for other in others if other.retry_of == run_id and other.reason == RETRIED]
    unfinished = {each.id for each in repeats if spool_root is not None and _is_unfinished(database, each)}
    with database.write() as session:
        definition = _definition(session, before)
        if _mode(definition) == "truncate":
            raise usage(
                f"run {run_id} belongs to a truncate, which would delete the accepted rows: give the job "
                'mode = "append" or a key to update by for this one time, or let its next run send all rows'
            )
        _check_first(session, before, unfinished)
        kept = rejections.count(session, run_id)
        hopeless = rejections.count(session, run_id, codes=WITHOUT_TEXT)
        if kept == 0 and before.rows_rejected:
            raise failed(
                f"the values of the {before.rows_rejected:,} rejected rows of run {run_id} were lost with its spool: "
                f"they cannot be sent again from here; schedctl rejected {run_id} shows why they were rejected"
            )
        if kept == 0:
            raise failed(f"run {run_id} has no rejected rows")
        if kept == hopeless:
            raise failed(
                f"the {kept:,} rejected rows of run {run_id} hold values that have no text for the target (schedctl "
                f"rejected {run_id} shows which): change the query, then schedctl run {before.job}"
            )
        return _insert(session, before, definition, reason=RETRIED, now=now, by=by), hopeless


def _check_selected_since(database: Database, before: StoredRun) -> None:
    """Refuse to send the rows of an incremental append again, which the query of a later slot has selected too.

    A run that succeeded can be repeated as before: its rows are known to be in the target.
    """
    if before.outcome not in _BROKEN_OFF or before.reason == RETRIED:
        return
    try:
        job = Job.from_dict(before.definition)
    except UnreadableJobError:
        return
    if not is_incremental_append(job):
        return
    with database.read() as session:
        later = runs.last_sent_slot(session, before.job, partly=True, left_out=RETRIED)
    if later is not None and later > before.scheduled_time:
        raise failed(
            f"the run of the slot {later:%Y-%m-%dT%H:%M:%SZ} has sent the rows of run {before.id} with its own, since "
            f":{NAME} was a slot before both: nothing of run {before.id} is left to send. schedctl retry {before.id} "
            "--again sends its rows once more"
        )


def _is_unfinished(database: Database, before: StoredRun) -> bool:
    """Whether an ended run is an append that began to send and has rows in doubt or unsent."""
    try:
        sends_twice = _mode(before.definition) == "append" and Outline(before.definition).sends_all
    except UnreadableJobError:
        return False
    with database.read() as session:
        rows = ledger.entries(session, before.id)
    if before.outcome not in _BROKEN_OFF or not sends_twice or not has_acted(rows):
        return False
    binding, standing = binding_of(rows), Standing()
    for row in rows:
        standing.follow(Entry(step=row.step, mark=Mark(row.mark), batch=row.batch, data=row.data))
    return binding is None or len(standing.settled) < binding.batches


class _Obstacle(NamedTuple):
    """Why a run cannot go on where it stopped, in words, and whether it may be able to later."""

    why: str
    may_pass: bool = False


def _obstacle(database: Database, before: StoredRun, root: Path, now: datetime) -> _Obstacle | None:
    """Return why an unfinished run cannot go on; None if it can, here or where a daemon lives."""
    here, place = find_place(database, root)[1], before.spool_place
    with database.read() as session:
        for other in runs.list_runs(session, job=before.job, limit=MAX_SEARCHED):
            if other.retry_of == before.id and other.reason != RETRIED:
                return _Obstacle(f"run {other.id} sends all rows of its slot once more")
        rows, known, shared = ledger.entries(session, before.id), known_places(session), shared_now(session, now)
        living = [node for node in nodes.all_nodes(session) if node.kind == "daemon" and lives(node, shared)]
    if here is not None and place is not None and place not in here:
        if place in places_of(living):
            return None
        where = known.get(place, "an unknown place")
        why = f"its spool is in {where}, which no living daemon can read: start one there first"
        return _Obstacle(why, may_pass=True)
    binding = binding_of(rows)
    name = binding.spool if binding is not None else f"run-{before.id}"
    spool = Spool(directory_of(root, name, binding))
    try:
        check_bound(spool, rows)
        check_ledger(spool, rows, before.id)
    except ExportError as error:
        return _Obstacle(error.message)
    return None


def _resume(database: Database, before: StoredRun, now: datetime, *, by: Actor | None) -> StoredRun:
    """Have a run wait for its next attempt."""
    with database.write() as session:
        current = _definition(session, before)
        definition = _continued(before.definition, current)
        reason = before.reason if before.reason == RETRIED else None
        if runs.resume(session, before.id, definition=definition, reason=reason, now=now):
            record_action(session, by, "retried", now=now, jobs=[before.job], run_id=before.id)
        found = runs.get_run(session, before.id)
    if found is None:
        raise failed(f"run {before.id} is gone")
    return found


def _continued(begun: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Return a begun run's definition with what does not change its rows or where they go from the job as it now is."""
    export, now = dict(begun["export"]), current["export"]
    if export.get("type") == now.get("type"):
        export["connection"] = now["connection"]  # it may have another name now; the org is compared before it sends
    taken = {key: current[key] for key in _TAKEN if key in current}
    return {**{key: value for key, value in begun.items() if key not in _TAKEN}, **taken, "export": export}


def _ended(database: Database, run_id: int) -> StoredRun:
    found = get_run(database, run_id)
    if found.state != "finished":
        raise failed(f"run {run_id} has not ended yet: it is {found.state}")
    return found


def _definition(session: Session, before: StoredRun) -> dict[str, object]:
    stored = jobs.get_job(session, before.job)
    if stored is None:
        raise failed(f"run {before.id} was of job {before.job}, which is gone: add it again first")
    return stored.definition


def _check_first(session: Session, before: StoredRun, unfinished: Collection[int]) -> None:
    """Refuse to send rejected rows a second time unless certainly none of them arrived the first time.

    ``unfinished`` are the runs of rejected rows that have rows left to send.
    """
    for other in runs.list_runs(session, job=before.job, limit=MAX_SEARCHED):
        if other.retry_of != before.id or other.reason != RETRIED:
            continue
        if other.state == "finished" and not other.rows_accepted and not is_uncertain(session, other.id):
            continue
        way = f"schedctl retry {other.id} --rejected sends what was rejected again"
        if other.state != "finished":
            way = f"it is {other.state}; schedctl runs show {other.id} tells what becomes of them"
        elif other.id in unfinished:
            way = f"it broke off, and schedctl retry {other.id} sends the rest of them"
        raise failed(f"the rejected rows of run {before.id} were sent again by run {other.id}: {way}")


def _check_append(session: Session, before: StoredRun, target: str, obstacle: str | None) -> None:
    """Refuse to append rows a second time unless certainly none of them arrived the first time."""
    ways = f"schedctl retry {before.id} --again sends all"
    if obstacle is not None and before.failure_code != LEDGER_GONE:  # which says all of it below
        ways = f"it cannot go on where it stopped, since {obstacle}{'' if ways in obstacle else f'; {ways}'}"
    if rejections.count(session, before.id):
        ways = f"schedctl retry {before.id} --rejected sends the rejected ones, {ways}"
    if before.failure_code == LEDGER_GONE:
        raise failed(
            f"rows of the slot of run {before.id} were sent to {target} before this state database was put back, and "
            f'mode = "append" might add them once more: look there first (schedctl runs show {before.id}); {ways}'
        )
    if before.rows_accepted:
        raise failed(
            f"run {before.id} has {counted(before.rows_accepted, 'row')} in {target} already, and mode = "
            f'"append" would add them once more: {ways}'
        )
    if is_uncertain(session, before.id):
        raise failed(
            f"run {before.id} sent rows to {target} of which it never learned what became of them, and mode = "
            f'"append" might add them once more: look there first (schedctl runs show {before.id}); {ways}'
        )


def _insert(
    session: Session,
    before: StoredRun,
    definition: dict[str, object],
    *,
    reason: str | None,
    now: datetime,
    by: Actor | None,
) -> StoredRun:
    earlier = runs.list_runs(session, job=before.job, limit=MAX_SEARCHED)
    slot = before.scheduled_time
    repeats = [run.repeat for run in earlier if run.kind == "retry" and run.scheduled_time == slot]
    row = NewRun(
        job=before.job,
        scheduled_time=slot,
        run_time=now,
        kind="retry",
        definition=definition,
        reason=reason,
        repeat=max(repeats, default=-1) + 1,
        retry_of=before.id,
    )
    [number] = runs.insert_runs(session, [row], now=now)
    found = runs.get_run(session, number) if number is not None else None
    if found is None:
        raise failed(f"another retry of run {before.id} was asked for at this very moment")
    record_action(session, by, "retried", now=now, jobs=[before.job], run_id=found.id)
    return found


def _mode(definition: dict[str, object]) -> str | None:
    return getattr(Job.from_dict(definition).export.options, "mode", None)


def _object(definition: dict[str, object]) -> str:
    return str(getattr(Job.from_dict(definition).export.options, "object", "the target"))
