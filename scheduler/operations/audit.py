"""The audit of the slots: what every job owed, by its history, against the rows that are stored."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import groupby

from exporter.counted import counted
from scheduler.errors.operation_error import not_found
from scheduler.jobs.definition import Job, UnreadableJobError
from scheduler.jobs.outline import Outline
from scheduler.observability.logging_setup import get_logger
from scheduler.planning.audit import Audit, Change, Finding, SlotRow, audit_job
from scheduler.planning.audit_dependencies import Success
from storage import key_values, notices, retention
from storage.database import Database, Session
from storage.engine.dialect_sql import one_snapshot
from storage.jobs import dependents, jobs
from storage.jobs.jobs import JobChange
from storage.runs import runs

EVERY = timedelta(hours=24)
"""How often a daemon audits."""
SHOWN = 20
"""Findings in one notice."""
_AUDITED = "audited_at"
_TOLD = "audit_told"

log = get_logger("schedctl.audit")


def audit(database: Database, name: str | None = None, *, since: datetime | None = None) -> Audit:
    """Audit one job or every job that there is or was, from ``since`` on; raises not-found for a name never used.

    What was pruned is left out. All is seen as of one instant, whatever a daemon does meanwhile.
    """
    after = since - timedelta(microseconds=1) if since is not None else None
    with database.read() as session:
        one_snapshot(session)
        marks = jobs.high_waters(session)
        if name is None:
            histories = jobs.definition_histories(session)
        else:
            histories = {name: jobs.definition_history(session, name)}
            if not histories[name]:
                raise not_found(f"there is and was no job {name!r}; schedctl list shows those there are")
        successes = _successes(session, histories, since)
        found = [
            audit_job(
                job,
                changes,
                rows,
                settled_until=marks.get(job),
                since=_begin(session, {job, *_parents(changes)}, after),
                successes=successes,
            )
            for job, changes, rows in _by_job(session, histories, name, since)
        ]
    total = Audit()
    for each in found:
        total += each
    return total


def audit_daily(database: Database, now: datetime) -> bool:
    """Audit everything if no daemon has for a day, and put a notice for what was not told before into the outbox."""
    with database.read() as session:
        last = key_values.get(session, _AUDITED)
    if last is not None and timedelta(0) <= now - datetime.fromisoformat(last) < EVERY:
        return False
    found = audit(database)
    log.info("audit.done", jobs=found.jobs, owed=found.owed, sound=found.sound, findings=len(found.findings))
    with database.write() as session:
        key_values.put(session, _AUDITED, now.isoformat())
        told = set((key_values.get(session, _TOLD) or "").split())
        marks = {_mark(finding): finding for finding in found.findings}
        new = [finding for mark, finding in marks.items() if mark not in told]
        key_values.put(session, _TOLD, " ".join(sorted(marks)))
        if new:
            _announce(session, new, now)
    for finding in new:
        log.error("audit.finding", job=finding.job, message=words(finding))
    return True


def words(finding: Finding) -> str:
    """Say what is wrong in one line."""
    when = f"{finding.first:%Y-%m-%dT%H:%M:%SZ}"
    if finding.kind == "unreadable":
        when = f"{when} to {finding.last:%Y-%m-%dT%H:%M:%SZ}" if finding.last != finding.first else f"from {when} on"
        return f"{finding.job}: {when}: its slots cannot be judged, since the job cannot be read: {finding.reason}"
    if finding.last != finding.first:
        when += f" to {finding.last:%Y-%m-%dT%H:%M:%SZ}"
    slots = counted(finding.count, "slot")
    numbers = ", ".join(map(str, finding.runs[:SHOWN]))
    match finding.kind:
        case "hole":
            what = f"no run and no reason why for {slots}"
        case "double":
            what = f"more than one run (runs {numbers}) for {slots}"
        case _:
            what = f"run {numbers} stands for {slots} that the schedule did not name, or that it was not to follow"
    return f"{finding.job}: {when}: {what}"


def _announce(session: Session, findings: list[Finding], now: datetime) -> None:
    lines = [words(finding) for finding in findings[:SHOWN]]
    if len(findings) > SHOWN:
        lines.append(f"and {len(findings) - SHOWN} more")
    count = counted(len(findings), "fault")
    notices.add(
        session,
        job=None,
        run_id=None,
        kind="audit",
        subject=f"schedctl: the audit found {count} in the record of slots",
        body="\n".join([*lines, "", "schedctl audit shows them again; schedctl run NAME --at TIME runs a lost slot."]),
        now=now,
    )


def _by_job(
    session: Session, histories: dict[str, list[JobChange]], name: str | None, since: datetime | None
) -> Iterator[tuple[str, list[Change], Iterable[SlotRow]]]:
    """Yield each job with its changes and its rows; the rows are read on while they are looked at."""
    rest = set(histories)
    stored = runs.slot_rows(session, name, since=since)
    for job, rows in groupby(stored, key=lambda row: row.job):
        if job in rest:
            rest.remove(job)
            yield job, _changes(histories[job]), map(_row, rows)
    for job in sorted(rest):
        yield job, _changes(histories[job]), ()


def _begin(session: Session, names: Collection[str], after: datetime | None) -> datetime | None:
    """Return from when on (not counting that instant) a job is audited: what is known of it, and of its parents."""
    pruned = (retention.pruned_through(session, name) for name in names)
    return max(filter(None, (after, *pruned)), default=None)


def _successes(
    session: Session, histories: Mapping[str, list[JobChange]], since: datetime | None
) -> dict[str, list[Success]]:
    """Return the successes of all jobs that any of these ever ran after."""
    names = {parent for history in histories.values() for each in history for parent in _after(each)}
    found: dict[str, list[Success]] = {name: [] for name in names}
    for each in dependents.successes(session, names, since=since):
        slot = int(each.scheduled_time.timestamp() // 1)
        found[each.job].append(Success(job=each.job, slot=slot, at=each.finished_at))
    return found


def _parents(changes: Iterable[Change]) -> set[str]:
    return {parent for change in changes for parent in change.after}


def _after(change: JobChange) -> tuple[str, ...]:
    return Outline(change.definition).after


def _changes(history: list[JobChange]) -> list[Change]:
    return list(map(_change, history))


def _change(each: JobChange) -> Change:
    job, fault = None, None
    try:
        job = Job.from_dict(each.definition)
    except UnreadableJobError as error:
        fault = error.reason
    return Change(
        change=each.change,  # type: ignore[arg-type] # one of the changes
        schedule=job.schedule if job is not None else None,
        valid_from=each.valid_from,
        anchored_at=each.anchored_at,
        after=job.after if job is not None else (),
        ends=job.ends if job is not None else None,
        fault=fault,
    )


def _row(row: runs.SlotRow) -> SlotRow:
    return SlotRow(
        run=row.id,
        slot=row.scheduled_time,
        first=row.first_slot,
        count=row.skipped if row.first_slot is not None else 1,
    )


def _mark(finding: Finding) -> str:
    text = f"{finding.kind} {finding.job} {finding.first.isoformat()} {finding.last.isoformat()} {finding.runs}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
