"""The zone data that the stored plan was last seen under, compared with what is installed now."""

from collections.abc import Mapping
from datetime import datetime

from scheduler import tzdata
from scheduler.logs import get_logger
from scheduler.schedule import Schedule
from storage import notices, settings
from storage.database import Database

_KEY = "zone_outlook"

log = get_logger("schedctl.tzdata")


def look_at_zones(
    database: Database, version: str, schedules: Mapping[str, tuple[int, Schedule]], now: datetime
) -> list[tzdata.Moved]:
    """Keep samples of the coming slots; if the zone data changed since, log and announce the jobs that they move.

    ``schedules`` holds each enabled job's revision and schedule, made with the zone data of ``version``. Of several
    daemons, the first one tells. Returns the moved jobs.
    """
    found: list[tzdata.Moved] = []
    with database.write() as session:
        old = tzdata.read(settings.get(session, _KEY))
        if old is not None and old.version != version:
            found = tzdata.moved(old, schedules, now)
            if found:
                told = tzdata.announce(old.version, version, found)
                notices.add(
                    session, job=None, run_id=None, kind=told.kind, subject=told.subject, body=told.body, now=now
                )
        settings.put(session, _KEY, tzdata.write(tzdata.look_out(version, schedules, now)))
    if old is not None and old.version != version:
        log.warning("tzdata.changed", before=old.version, after=version, moved=len(found))
    for each in found:
        after = each.after.isoformat() if each.after is not None else None
        log.warning("job.moved", job=each.job, before=each.before.isoformat(), after=after)
    return found
