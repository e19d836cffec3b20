"""The daemon as installed, started under other time zone data than it was stopped with."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from support.commands.command import Command
from support.commands.service import JOB, SCHEMA, Service

from exporter.emulator.server import Emulator
from scheduler.planning.tzdata_changes import Outlook, Samples, read, write
from scheduler.schedules.timezones import tzdata_version
from storage import key_values
from storage.database import open_database


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        yield Service(Command(tmp_path), org)


def test_jobs_that_new_zone_data_move_are_logged_and_announced_once_and_fire_once(service: Service) -> None:
    zone = 'timezone = "Europe/Berlin"\n'
    every = JOB.format(name="every", rows=3, object="Row__c", size=10).replace("source =", zone + "source =")
    nightly = every.replace("jobs.every", "jobs.nightly").replace("* * * * *", "30 2 * * *")
    service.configure(every, nightly)
    service.owe_a_slot()
    coming = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2, minutes=17)
    database = open_database(service.url)
    with database.write() as session:
        old = {name: Samples(revision=1, offset=3600, slots=(coming,)) for name in ("every", "nightly")}
        key_values.put(session, "zone_outlook", write(Outlook(version="1999z", jobs=old)))
    for _ in range(2):
        with service.daemon() as daemon:
            service.until(lambda: service.command("status", code=None).code == 0)
            service.until(lambda: "tzdata.changed" in service.log.read_text(encoding="utf-8"))
            service.until(lambda: any(run.state == "finished" for run in service.runs("every")))
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(timeout=40) == 0
    with database.read() as session:
        told = session.execute(text("SELECT subject, body FROM notice WHERE kind = 'tzdata'")).all()
        stored = read(key_values.get(session, "zone_outlook"))
    database.close()
    assert stored is not None
    assert (stored.version, set(stored.jobs)) == (tzdata_version(), {"every", "nightly"})
    assert [each.subject for each in told] == ["New time zone data move 1 job"]
    assert f"nightly: {coming:%Y-%m-%dT%H:%M:%SZ} becomes" in told[0].body
    assert service.log.read_text(encoding="utf-8").count("job.moved") == 1
    slots = [run.scheduled_time for run in service.runs("every") if run.kind == "schedule"]
    assert len(slots) == len(set(slots)) >= 1
