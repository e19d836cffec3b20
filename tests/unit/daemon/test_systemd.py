"""What systemd is told, and when it wants to hear."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands.notify import Listener

from scheduler.daemon.sd_notify import MAX_STATUS, Manager, notify, status_line, stopping_line, watchdog_seconds


def test_a_status_says_jobs_runs_and_what_needs_a_person() -> None:
    assert status_line(jobs=0, running=0, fault="", has_room=True) == "0 jobs, 0 running"
    line = status_line(jobs=1, running=2, fault="config.toml:3: no\nand more", has_room=False)
    assert line == (
        "1 job, 2 running; a disk is nearly full: no run is started; the config file is refused: config.toml:3: no"
    )
    assert len(status_line(jobs=1, running=0, fault="x" * 1000, has_room=True)) == MAX_STATUS
    assert status_line(jobs=1, running=0, fault="", has_room=True, storage="the disk is full") == (
        "1 job, 0 running; nothing can be stored: the disk is full"
    )


def test_a_daemon_that_ends_says_what_it_waits_for() -> None:
    assert stopping_line(running=0) == "stopping"
    assert stopping_line(running=1) == "stopping: waits for 1 run to end"
    assert stopping_line(running=2, storage="gone") == "stopping: waits for 2 runs to end; nothing can be stored: gone"
    assert len(stopping_line(running=2, storage="x" * 1000)) == MAX_STATUS


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_counts_where_it_is_meant_for_this_process(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, 7) == seconds


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    made = Listener(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", made.address)
    yield made
    made.close()


def test_a_line_break_in_a_message_begins_no_other_one(listener: Listener) -> None:
    notify("STATUS=a fault\nSTOPPING=1", "READY=1")
    assert listener.next() == {"STATUS": "a fault STOPPING=1", "READY": "1"}


def test_a_status_is_sent_when_it_is_new(listener: Listener) -> None:
    manager = Manager()
    for status in ("a", "a", "b", "a"):
        manager.say(status)
    manager.ready("a")
    manager.say("a")
    told = listener.during(0.1)
    assert told == [{"STATUS": "a"}, {"STATUS": "b"}, {"STATUS": "a"}, {"READY": "1", "STATUS": "a"}]


def test_pings_are_no_more_than_the_watchdog_needs(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000000")
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    manager = Manager()
    for now in (1000.0, 1001.0, 1009.9, 1010.0, 1019.0, 1020.5):  # noqa: B007 - the clock of the lambda
        manager.ping()
    monkeypatch.undo()
    assert len(listener.during(0.1)) == 3


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1", "/nowhere/at/all", "@nobody-listens"])
def test_a_manager_that_does_not_listen_is_no_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
