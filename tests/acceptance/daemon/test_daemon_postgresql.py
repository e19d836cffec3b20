"""Daemons over one PostgreSQL: they share the work, and each slot and each row is there once."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands.command import Command
from support.commands.service import JOB, SCHEMA, Service
from support.loopback.receivers import mail_server

from exporter.emulator.server import Emulator

JOBS = 12
ROWS = 50


@pytest.fixture
def service(tmp_path: Path, postgresql_url: str) -> Iterator[Service]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        yield Service(Command(tmp_path), org, postgresql_url)


def test_two_daemons_share_the_owed_slots_and_none_runs_twice(service: Service) -> None:
    names = [f"job{number}" for number in range(JOBS)]
    service.configure(*(JOB.format(name=name, rows=ROWS, object="Row__c", size=20) for name in names))
    service.owe_a_slot()
    with service.daemon() as first, service.daemon() as second:
        service.until(lambda: all(any(run.state == "finished" for run in service.runs(name)) for name in names))
        for daemon in (first, second):
            daemon.send_signal(signal.SIGTERM)
        assert [daemon.wait(timeout=60) for daemon in (first, second)] == [0, 0]
    slots = [(name, run.scheduled_time) for name in names for run in service.runs(name)]
    assert len(slots) == len(set(slots)) >= JOBS
    done = [run for name in names for run in service.runs(name) if run.state == "finished"]
    assert {run.outcome for run in done} == {"succeeded"}
    assert sorted(service.numbers().values()) == [len(done)] * ROWS


def test_a_refused_row_keeps_values_that_postgresql_text_cannot_hold(service: Service) -> None:
    job = JOB.format(name="odd", rows=2, object="Account", size=20).replace("* * * * *", "")
    numbers = 'select i as \\"Number__c\\" from range(2) as numbers(i)'
    names = """select * from (values ('a'), ('b' || chr(0) || 'c')) as rows(\\"Name\\")"""
    service.configure(job.replace(numbers, names))
    run = service.command("run", "odd", "--wait", "--json").json["runs"][0]
    assert (run["outcome"], run["rows"]["rejected"]) == ("partial", 1)
    (row,) = service.command("rejected", str(run["id"]), "--json").json["rows"]
    assert row["values"]["Name"] == "b\x00c"


def test_two_daemons_send_each_notice_once(service: Service) -> None:
    names = [f"bad{number}" for number in range(9)]
    with mail_server() as mail:
        notify = f'[notify]\nurls = ["{mail.url}"]\n'
        yearly = [JOB.format(name=name, rows=1, object="Nothing__c", size=9).replace("* * * * *", "") for name in names]
        service.configure(notify, *yearly)
        with service.daemon() as first, service.daemon() as second:
            service.until(lambda: service.command("status", code=None).code == 0)
            for name in names:
                service.command("run", name)
            service.until(lambda: len(mail.mails) >= len(names))
            service.until(lambda: service.command("status", "--json").json["notices"]["pending"] == 0)
            for daemon in (first, second):
                daemon.send_signal(signal.SIGTERM)
            assert [daemon.wait(timeout=60) for daemon in (first, second)] == [0, 0]
        failed = "schedctl: job {} failed: UNKNOWN_OBJECT (1 of 5 before the job is disabled)"
        assert sorted(mail.subjects) == [failed.format(name) for name in names]
