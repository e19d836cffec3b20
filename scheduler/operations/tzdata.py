"""The zone data that the stored plan was last seen under, compared with what is installed now."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler.observability.logging_setup import get_logger
from scheduler.planning import tzdata_changes
from scheduler.planning.plan import pass_over
from scheduler.runs.due_slots import skipped
from scheduler.schedules.schedule import Schedule
from storage import key_values, notices
from storage.database import Database, Session
from storage.jobs import jobs
from storage.runs import runs

if TYPE_CHECKING:
    from storage.runs.runs import NewRun

_KEY = "zone_outlook"
REPEATED = "new time zone data turned the clock back: this time of day has been already"
"""Why a slot is skipped that would be the same one once more."""

log = get_logger("schedctl.tzdata")


def look_at_zones(
    database: Database, version: str, schedules: Mapping[str, tuple[int, Schedule]], now: datetime
) -> list[tzdata_changes.Moved]:
    """Keep samples of the coming slots; if the zone data changed since, log and announce the jobs that they move.

    ``schedules`` holds each enabled job's revision and schedule, made with the zone data of ``version``. Of several
    daemons, the first one tells. Returns the moved jobs.
    """
    found: list[tzdata_changes.Moved] = []
    with database.write() as session:
        old = tzdata_changes.read(key_values.get(session, _KEY))
        if old is not None and old.version != version:
            _pass_over_repeats(session, old, schedules, now)
            found = tzdata_changes.moved(old, schedules, now)
            if found:
                told = tzdata_changes.announce(old.version, version, found)
                notices.add(
                    session, job=None, run_id=None, kind=told.kind, subject=told.subject, body=told.body, now=now
                )
        key_values.put(session, _KEY, tzdata_changes.write(tzdata_changes.look_out(version, schedules, now)))
    if old is not None and old.version != version:
        log.warning("tzdata.changed", before=old.version, after=version, moved=len(found))
    for each in found:
        after = each.after.isoformat() if each.after is not None else None
        log.warning("job.moved", job=each.job, before=each.before.isoformat(), after=after)
    return found


def _pass_over_repeats(
    session: Session, old: tzdata_changes.Outlook, schedules: Mapping[str, tuple[int, Schedule]], now: datetime
) -> None:
    """Store as skipped the slots whose time of day has been already, before the new data turned the clock back."""
    marks = jobs.high_waters(session)
    rows: list[NewRun] = []
    for name, (revision, schedule) in sorted(schedules.items()):
        settled = marks.get(name)
        until = tzdata_changes.repeated_until(old, name, revision, schedule, settled) if settled is not None else None
        stored = jobs.get_job(session, name) if until is not None else None
        if settled is not None and until is not None and stored is not None:
            over = pass_over(schedule, settled, until, REPEATED)
            rows += [skipped(name, each, stored.definition) for each in over]
    runs.insert_runs(session, rows, now=now)
    jobs.set_high_water(session, {row.job: row.scheduled_time for row in rows})
