"""Signals to the installed commands that run for long: in bursts, and those that mean nothing to them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.commands.command import SCHEDCTL, Command
from support.commands.service import JOB, SCHEMA, Service

from exporter.emulator.fault_injection import CallFault
from exporter.emulator.server import Emulator

ENDED = (0, -signal.SIGTERM, -signal.SIGINT)
"""Exit codes of a process that was ended: the last signals of a burst may meet its very end."""
BURST = 400
"""Signals one right after the other: a handler that takes a lock is interrupted by the next one while it has it."""

GAP = 20e-6
"""Seconds from one to the next, about as long as a handler takes: without, the kernel makes one of many."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        made = Service(Command(tmp_path), org)
        made.configure(JOB.format(name="rows", rows=300, object="Row__c", size=100).replace("* * * * *", "0 0 1 1 *"))
        yield made


@contextmanager
def daemon(service: Service) -> Iterator[subprocess.Popen[bytes]]:
    with service.daemon() as process:
        service.until(lambda: "daemon.started" in service.log.read_text(encoding="utf-8"))
        yield process


@contextmanager
def emulator(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([SCHEDCTL, "emulator"], stdout=subprocess.PIPE, text=True, cwd=directory)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        yield process
    finally:
        process.kill()
        process.communicate()


def send(process: subprocess.Popen[bytes] | subprocess.Popen[str], *numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(process.pid, number)  # not send_signal, which would take the time to look whether it still lives
        limit = time.perf_counter() + GAP
        while time.perf_counter() < limit:
            pass


def events(service: Service) -> list[dict[str, object]]:
    return [json.loads(line) for line in service.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]


def test_a_burst_of_signals_to_end_ends_the_emulator(tmp_path: Path) -> None:
    with emulator(tmp_path) as process:
        send(process, *[signal.SIGTERM, signal.SIGINT] * BURST)
        assert process.wait(timeout=60) in ENDED


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_each_signal_to_end_ends_the_emulator_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with emulator(tmp_path) as process:
        send(process, signal.SIGUSR1, signal.SIGUSR2, number)
        assert process.wait(timeout=60) == 0


def test_a_burst_of_signals_to_end_ends_the_daemon(service: Service) -> None:
    with daemon(service) as process:
        send(process, *[signal.SIGTERM, signal.SIGINT] * BURST)
        assert process.wait(timeout=60) in ENDED
    assert events(service)[-1]["event"] == "daemon.stopped"


def test_a_burst_of_signals_to_reload_or_to_do_nothing_leaves_the_daemon_at_work(service: Service) -> None:
    with daemon(service) as process:
        send(process, *[signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGUSR2] * BURST)
        service.until(lambda: any(each["event"] == "config.reloaded" for each in events(service)))
        service.command("run", "rows")
        service.until(lambda: [run.outcome for run in service.runs("rows")] == ["succeeded"])
        send(process, signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    ignored = {each["signal"] for each in events(service) if each["event"] == "signal.ignored"}
    assert ignored == {"SIGUSR1", "SIGUSR2"}


def test_sigquit_ends_the_daemon_without_waiting_for_runs_and_hands_them_back(service: Service) -> None:
    service.org.faults.add(CallFault(pattern="POST .*/batch$", action="slow", nth=(1,), seconds=8.0))
    with daemon(service) as process:
        service.command("run", "rows")
        service.until(lambda: any(run.state == "running" for run in service.runs("rows")))
        send(process, signal.SIGQUIT)
        assert process.wait(timeout=60) == 0
    assert [each["event"] for each in events(service)][-1] == "daemon.stopped"
    assert any(each["event"] == "daemon.hurried" for each in events(service))
    with daemon(service):
        service.until(lambda: [run.outcome for run in service.runs("rows")] == ["succeeded"])
    assert set(service.numbers().values()) == {1}


def test_a_daemon_whose_log_nobody_reads_any_more_goes_on(service: Service) -> None:
    """Its stderr is a pipe whose reader ends: writing to it is EPIPE, and SIGPIPE is not to end it."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [SCHEDCTL, "daemon"], env=service.command.environment, cwd=service.command.directory, stderr=writing
    )
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as log:
            assert b"daemon.started" in log.readline()
        service.command("run", "rows")
        service.until(lambda: [run.outcome for run in service.runs("rows")] == ["succeeded"])
        send(process, signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
