"""The daemon's own process under a wall clock that is set: forward, back, over DST nights and a leap day."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.commands.command import Answer, Command
from support.commands.service import JOB, SCHEMA, Service

from exporter.emulator.fault_injection import CallFault
from exporter.emulator.server import Emulator

MOVED_CLOCK = Path(__file__).parents[2] / "support" / "commands" / "moved_clock.py"
YEARLY = "0 0 1 1 *"


class Clocked:
    """A daemon and a command line whose wall clock the test sets."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.offset = service.command.directory / "offset"
        self.runs = False
        self.move(timedelta(0))

    def move(self, by: timedelta) -> None:
        """Set how far the clock is from the true time."""
        new = self.offset.with_suffix(".new")
        new.write_text(str(by.total_seconds()), encoding="ascii")
        new.replace(self.offset)

    def set(self, to: datetime) -> None:
        """Set the clock; under a daemon, wait until it has noticed."""
        noticed = len(self.steps())
        self.move(to - datetime.now(UTC))
        if self.runs:
            self.until(lambda: len(self.steps()) > noticed)

    def line(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", str(MOVED_CLOCK), str(self.offset), *arguments]

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        command = self.service.command
        with self.service.log.open("ab") as log:
            process = subprocess.Popen(
                self.line("daemon"), env=command.environment, cwd=command.directory, stdout=log, stderr=log
            )
        try:
            self.until(lambda: "daemon.started" in self.log)
            self.runs = True
            yield process
            assert process.poll() is None
        finally:
            self.runs = False
            process.kill()
            process.wait()

    def __call__(self, *arguments: str) -> Answer:
        """Run a command by the same clock."""
        command = self.service.command
        done = subprocess.run(
            self.line(*arguments),
            env=command.environment,
            cwd=command.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)

    @property
    def log(self) -> str:
        return self.service.log.read_text(encoding="utf-8") if self.service.log.exists() else ""

    def steps(self) -> list[float]:
        """Return the steps of the clock that the daemon noticed."""
        lines = [json.loads(line) for line in self.log.splitlines()]
        return [line["seconds"] for line in lines if line["event"] == "clock.set"]

    def until(self, holds: Any) -> None:
        self.service.until(holds)

    def fired(self, job: str) -> list[str]:
        """Return the slots that have run, in order."""
        runs = [run for run in self.service.runs(job) if run.kind == "schedule" and run.state == "finished"]
        return [run.scheduled_time.strftime("%Y-%m-%dT%H:%M") for run in runs]

    def is_sound(self) -> bool:
        """Whether the audit finds each owed slot exactly once."""
        answer = self("audit", "--json")
        return answer.code == 0


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Clocked]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        yield Clocked(Service(Command(tmp_path), org))


def rows(cron: str = "* * * * *", *, more: str = "", count: int = 10) -> str:
    job = JOB.format(name="rows", rows=count, object="Row__c", size=100).replace("* * * * *", cron)
    return job.replace("retry_limit = 0", f"retry_limit = 0\n{more}")


def test_a_clock_set_back_an_hour_stops_no_chore_and_fires_no_slot_twice(clocked: Clocked) -> None:
    clocked.set(datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC))
    clocked.service.configure(rows(more='catch_up = "all"'))
    with clocked.daemon():
        clocked.set(datetime(2026, 5, 4, 12, 1, 1, tzinfo=UTC))
        clocked.until(lambda: clocked.fired("rows") == ["2026-05-04T12:01"])
        clocked.set(datetime(2026, 5, 4, 11, 0, 58, tzinfo=UTC))
        assert clocked.steps()[-1] < -3600
        assert clocked("run", "rows").code == 0
        clocked.until(lambda: any(run.kind == "manual" and run.outcome for run in clocked.service.runs("rows")))
        clocked.service.configure(rows(more='catch_up = "all"'), rows(YEARLY).replace("jobs.rows", "jobs.more"))
        clocked.until(lambda: "more" in clocked("list", "--json").out)
        told = clocked("status", "--json").out
        assert [problem["code"] for problem in json.loads(told)["problems"]] == ["clock"]
        shown = clocked("status")
        assert shown.code == 1
        assert (
            "job rows has fired up to 2026-05-04T12:01:00Z, which is in the future: the clock was set back" in shown.out
        )
        clocked.set(datetime(2026, 5, 4, 12, 2, 1, tzinfo=UTC))
        clocked.until(lambda: clocked.fired("rows") == ["2026-05-04T12:01", "2026-05-04T12:02"])
        assert clocked("status", "--json").code == 0
        assert clocked.is_sound()
    assert len(clocked.service.runs("rows")) == 3
    assert set(clocked.service.numbers().values()) == {3}


def test_a_clock_set_forward_a_day_ends_no_run_and_takes_none_from_who_has_it(clocked: Clocked) -> None:
    clocked.set(datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC))
    clocked.service.configure(rows(YEARLY, more='timeout = "1h"', count=300))
    clocked.service.org.faults.add(CallFault(pattern="POST .*/batch$", action="slow", nth=(1,), seconds=5.0))
    with clocked.daemon():
        assert clocked("run", "rows").code == 0
        clocked.until(lambda: any(run.state == "running" for run in clocked.service.runs("rows")))
        clocked.set(datetime(2026, 5, 5, 13, 0, 0, tzinfo=UTC))
        clocked.until(lambda: clocked.service.runs("rows")[0].state == "finished")
        (run,) = clocked.service.runs("rows")
        assert (run.outcome, run.attempt, run.rows_accepted) == ("succeeded", 1, 300)
        assert clocked.steps()[-1] > 80_000
        assert "claims.expired" not in clocked.log
    assert set(clocked.service.numbers().values()) == {1}


def test_a_clock_set_forward_ten_years_and_back_costs_the_daemon_nothing_and_the_ledger_is_complete(
    clocked: Clocked,
) -> None:
    start = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
    clocked.set(start)
    clocked.service.configure(rows(), rows(more='catch_up = "none"').replace("jobs.rows", "jobs.more"))
    with clocked.daemon() as daemon:
        before = cpu_seconds(daemon)
        assert clocked("run", "rows").code == 0
        clocked.until(lambda: any(run.kind == "manual" and run.outcome for run in clocked.service.runs("rows")))
        clocked.set(datetime(2036, 5, 4, 12, 0, 30, tzinfo=UTC))
        clocked.until(lambda: clocked.fired("rows") and clocked.fired("more"))
        assert clocked.fired("rows")[-1].startswith("2036-05-04T12:0")
        clocked.until(lambda: "audit.done" in clocked.log)
        assert clocked("status", "--json").code == 0
        clocked.set(start + timedelta(hours=1))
        told = json.loads(clocked("status", "--json").out)
        assert {problem["code"] for problem in told["problems"]} == {"clock"}
        assert clocked.is_sound()
        assert cpu_seconds(daemon) - before < 20
    assert clocked.service.runs("rows")[0].kind == "manual"  # a history of 90 days does not go by a clock so new
    lines = [json.loads(line) for line in clocked.log.splitlines()]
    skipped = [line["count"] for line in lines if line["event"] == "slot.skipped" and line["job"] == "rows"]
    assert sum(skipped) > 10 * 365 * 24 * 60


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_job_goes_on_firing_after_edits_that_leave_its_schedule(clocked: Clocked) -> None:
    clocked.set(datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC))
    clocked.service.configure(rows("0 * * * *"))
    with clocked.daemon():
        for retries in (1, 2):
            clocked.service.configure(rows("0 * * * *").replace("retry_limit = 0", f"retry_limit = {retries}"))
            clocked.until(lambda retries=retries: f'"retry_limit": {retries}' in clocked("show", "rows", "--json").out)
        clocked.set(datetime(2026, 5, 4, 13, 0, 1, tzinfo=UTC))
        clocked.until(lambda: clocked.fired("rows") == ["2026-05-04T13:00"])
        assert "chore.crashed" not in clocked.log


NIGHTS = {
    "the gap of a spring night": ("30 2 * * *", datetime(2026, 3, 8, 6, 30, tzinfo=UTC), ["2026-03-08T07:00"]),
    "the fold of an autumn night": ("30 1 * * *", datetime(2026, 11, 1, 5, 0, tzinfo=UTC), ["2026-11-01T05:30"]),
    "an interval over the fold": (
        "*/30 1 * * *",
        datetime(2026, 11, 1, 4, 50, tzinfo=UTC),
        ["2026-11-01T05:00", "2026-11-01T05:30", "2026-11-01T06:00", "2026-11-01T06:30"],
    ),
    "a leap day": ("0 0 29 2 *", datetime(2028, 2, 29, 4, 0, tzinfo=UTC), ["2028-02-29T05:00"]),
    "the same date in a year without one": ("0 0 29 2 *", datetime(2027, 2, 28, 4, 0, tzinfo=UTC), []),
}


@pytest.mark.parametrize("night", NIGHTS)
def test_a_night_is_passed_in_leaps_and_each_slot_fires_once(clocked: Clocked, night: str) -> None:
    cron, start, slots = NIGHTS[night]
    clocked.set(start)
    beats = rows(more='catch_up = "none"').replace("jobs.rows", "jobs.beat")
    clocked.service.configure(rows(cron, more='timezone = "America/New_York"\ncatch_up = "all"'), beats)
    with clocked.daemon():
        for leap in range(1, 7):
            clocked.set(start + timedelta(minutes=30 * leap))
            beat = (start + timedelta(minutes=30 * leap)).strftime("%Y-%m-%dT%H:%M")
            clocked.until(lambda beat=beat: beat in clocked.fired("beat"))
            clocked.set(start + timedelta(minutes=30 * leap - 10))  # and a little back again
        clocked.until(lambda: clocked.fired("rows") == slots)
        assert clocked.is_sound()
