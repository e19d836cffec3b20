"""The notify protocol, spoken over a real socket by the real process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, SCHEDCTL, Command
from support.commands.notify import Listener

GOOD = CONFIG + NIGHTLY
BAD = GOOD.replace("0 3 * * mon-fri", "99 3 * * *")
LONG = """
[daemon]
drain_timeout = "1s"
[jobs.long]
source = "warehouse"
query = "select count(*) as n from range(1000000) a, range(1000000) b where hash(a.range + b.range) = 1"
export = { connection = "files", file = "long.csv" }
"""
REFUSED = """
import sys
from pathlib import Path
from scheduler.cli.main import run
from storage.database import Database, StorageError
real = Database.write
def write(database):
    if Path("refuse").exists():
        raise StorageError("FULL", "the disk is full")
    return real(database)
Database.write = write
sys.exit(run(["daemon"]))
"""
STUCK = """
import sys, threading
from pathlib import Path
import scheduler.daemon.daemon
from scheduler.cli.main import run
real = scheduler.daemon.daemon.tick
def tick(*arguments):
    if Path("stick").exists():
        Path("stuck").touch()
        stand_still_for_good()
    return real(*arguments)
def stand_still_for_good():
    threading.Event().wait()
scheduler.daemon.daemon.tick = tick
sys.exit(run(["daemon"]))
"""


@pytest.fixture
def schedctl(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def manager(schedctl: Command) -> Iterator[Listener]:
    listener = Listener(schedctl.directory / "notify")
    yield listener
    listener.close()


@contextmanager
def daemon(
    schedctl: Command, manager: Listener, *program: str | Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    variables = {**schedctl.environment, "NOTIFY_SOCKET": manager.address, **environment}
    arguments = program or (SCHEDCTL, "daemon")
    with (
        (schedctl.directory / "log").open("wb") as log,
        subprocess.Popen(arguments, env=variables, cwd=schedctl.directory, stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready_is_said_when_the_daemon_can_work_and_stopping_when_it_is_told_to_end(
    schedctl: Command, tmp_path: Path, kind: str
) -> None:
    listener = Listener(tmp_path / "notify" if kind == "path" else f"@schedctl-test-{os.getpid()}")
    with daemon(schedctl, listener) as process:
        first = listener.until(lambda _any: True)
        assert first == {"READY": "1", "STATUS": "1 job, 0 running"}
        status = schedctl("status", "--json").json
        assert status["daemon"]["pid"] == process.pid
        process.send_signal(signal.SIGTERM)
        last = listener.until(lambda message: "STOPPING" in message)
        assert last["STATUS"] == "stopping"
        assert process.wait(timeout=40) == 0
    assert last["STOPPING"] == "1"
    assert int(last["EXTEND_TIMEOUT_USEC"]) > 300 * 1_000_000, "the default drain_timeout, and what comes after it"
    listener.during(0.1)
    assert not any("READY" in message for message in listener.heard[1:])
    assert not any("WATCHDOG" in message for message in listener.heard), "nobody asked for pings"
    listener.close()


def test_a_daemon_that_cannot_work_never_says_that_it_is_ready(schedctl: Command, manager: Listener) -> None:
    schedctl.write(BAD)
    with daemon(schedctl, manager) as process:
        assert process.wait(timeout=40) == 4
    assert manager.during(0.1) == []


def test_a_reload_is_told_from_its_beginning_to_its_end_a_refused_one_too(schedctl: Command, manager: Listener) -> None:
    with daemon(schedctl, manager) as process:
        manager.until(lambda message: "READY" in message)
        before = time.monotonic_ns() // 1000
        process.send_signal(signal.SIGHUP)
        begin = manager.until(lambda message: "RELOADING" in message)
        assert begin["RELOADING"] == "1"
        assert before <= int(begin["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert manager.until(lambda message: "READY" in message)["STATUS"] == "1 job, 0 running"

        schedctl.write(BAD)
        process.send_signal(signal.SIGHUP)
        manager.until(lambda message: "RELOADING" in message)
        refused = manager.until(lambda message: "READY" in message)["STATUS"]
        assert refused.startswith(f"1 job, 0 running; the config file is refused: {schedctl.config}:")
        assert "99" in refused

        schedctl.write(GOOD + NIGHTLY.replace("nightly", "another"))
        process.send_signal(signal.SIGHUP)
        manager.until(lambda message: message.get("STATUS") == "2 jobs, 0 running")
        assert process.poll() is None


def test_the_status_says_how_many_runs_go_on(schedctl: Command, manager: Listener) -> None:
    schedctl.write(LONG + CONFIG)
    with daemon(schedctl, manager) as process:
        manager.until(lambda message: "READY" in message)
        schedctl("run", "long")
        manager.until(lambda message: message.get("STATUS") == "1 job, 1 running")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_a_daemon_that_drains_says_so_as_long_as_it_does_and_hands_its_runs_back_when_told_once_more(
    schedctl: Command, manager: Listener
) -> None:
    schedctl.write(LONG.replace("1s", "10m") + CONFIG)
    with daemon(schedctl, manager) as process:
        manager.until(lambda message: "READY" in message)
        schedctl("run", "long")
        manager.until(lambda message: message.get("STATUS") == "1 job, 1 running")
        process.send_signal(signal.SIGTERM)
        assert manager.until(lambda message: "STOPPING" in message)["STATUS"] == "stopping: waits for 1 run to end"
        limit = time.monotonic() + 30
        while (found := schedctl("status", "--json").json)["daemon"]["state"] != "draining":
            assert time.monotonic() < limit
        assert found["healthy"]
        assert "draining: starts nothing more" in schedctl("status").out
        assert manager.during(2) == [], "nothing is new"
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert "daemon.hurried" in (schedctl.directory / "log").read_text(encoding="utf-8")
    assert [run["state"] for run in schedctl("runs", "--json").json["runs"]] == ["waiting"]


def test_a_state_database_that_is_moved_away_ends_the_daemon_for_its_restart(
    schedctl: Command, manager: Listener
) -> None:
    schedctl.write(LONG + CONFIG)
    with daemon(schedctl, manager) as process:
        manager.until(lambda message: "READY" in message)
        schedctl("run", "long")
        manager.until(lambda message: message.get("STATUS") == "1 job, 1 running")
        (schedctl.state / "state.db").rename(schedctl.directory / "elsewhere.db")
        assert process.wait(timeout=60) == 5
    events = [json.loads(line) for line in (schedctl.directory / "log").read_text(encoding="utf-8").splitlines()]
    (lost,) = [event for event in events if event["event"] == "storage.lost"]
    assert "was moved, deleted or replaced" in lost["message"]
    assert lost["level"] == "critical"
    assert len([event for event in events if event["event"] == "storage.refused"]) <= 2


def test_a_state_database_that_refuses_is_told_in_the_status_and_rarely_in_the_log(
    schedctl: Command, manager: Listener
) -> None:
    schedctl.write(GOOD.replace("0 3 * * mon-fri", "* * * * *").replace('delay = "10m"', ""))
    with daemon(schedctl, manager, sys.executable, "-c", REFUSED) as process:
        manager.until(lambda message: "READY" in message)
        (schedctl.directory / "refuse").touch()
        manager.until(lambda message: "nothing can be stored: the disk is full" in message.get("STATUS", ""))
        manager.during(3)
        (schedctl.directory / "refuse").unlink()
        manager.until(lambda message: message.get("STATUS") == "1 job, 0 running")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    log = (schedctl.directory / "log").read_text(encoding="utf-8")
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert (events.count("storage.refused"), events.count("storage.answers_again")) == (1, 1)


def test_the_watchdog_is_pinged_by_the_process_that_it_is_meant_for(schedctl: Command, manager: Listener) -> None:
    with daemon(schedctl, manager, WATCHDOG_USEC="4000000"):
        for _ in range(3):
            assert manager.until(lambda message: "WATCHDOG" in message) == {"WATCHDOG": "1"}
    assert "watchdog.short" in (schedctl.directory / "log").read_text(encoding="utf-8")
    with daemon(schedctl, manager, WATCHDOG_USEC="1000000", WATCHDOG_PID="1") as process:
        manager.until(lambda message: "READY" in message)
        assert not any("WATCHDOG" in message for message in manager.during(2))
        assert process.poll() is None


def test_a_stuck_loop_pings_no_more_and_tells_where_it_is_when_the_watchdog_ends_it(
    schedctl: Command, manager: Listener
) -> None:
    with daemon(schedctl, manager, sys.executable, "-c", STUCK, WATCHDOG_USEC="1000000") as process:
        for _ in range(3):
            manager.until(lambda message: "WATCHDOG" in message)
        (schedctl.directory / "stick").touch()
        limit = time.monotonic() + 30
        while not (schedctl.directory / "stuck").exists():
            assert time.monotonic() < limit
            time.sleep(0.02)
        manager.during(0.1)
        assert not any("WATCHDOG" in message for message in manager.during(4)), "systemd would have waited for 1 s"
        assert process.poll() is None, "the process itself lives"
        process.send_signal(signal.SIGABRT)
        assert process.wait(timeout=30) == -signal.SIGABRT
    assert "stand_still_for_good" in (schedctl.directory / "log").read_text(encoding="utf-8")
