"""Which nodes are gone, also where the system hides the processes of others from this one."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.nodes import process as instance
from scheduler.nodes.process import SEEN_WITHIN, is_dead, lives, process_started, this_node

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let /proc show no process, as a unit with ProtectProc=invisible sees those of others."""
    real = Path.exists
    monkeypatch.setattr(instance, "process_started", lambda _pid: None)
    monkeypatch.setattr(Path, "exists", lambda path: not path.match("/proc/*") and real(path))


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_node_whose_process_goes_on_is_not_dead_and_lives_whenever_it_was_seen() -> None:
    node = this_node("daemon", NOW)
    assert not is_dead(node)
    assert lives(node, NOW + timedelta(days=1))


def test_a_node_whose_process_ended_or_has_another_start_is_dead() -> None:
    node = this_node("daemon", NOW)
    assert is_dead(replace(node, pid=ended_process()))
    assert is_dead(replace(node, pid_started="1"))
    assert is_dead(replace(node, boot_id="another"))
    assert process_started(ended_process()) is None


@pytest.mark.usefixtures("hidden")
def test_a_process_that_the_system_hides_is_not_taken_for_dead() -> None:
    node = this_node("daemon", NOW)
    assert not is_dead(replace(node, pid=os.getppid(), pid_started="1"))
    assert is_dead(replace(node, pid=ended_process()))


@pytest.mark.usefixtures("hidden")
def test_a_hidden_process_lives_as_long_as_it_tells_of_itself() -> None:
    node = replace(this_node("daemon", NOW), pid=os.getppid(), pid_started="1")
    assert lives(node, NOW + SEEN_WITHIN)
    assert not lives(node, NOW + SEEN_WITHIN + timedelta(seconds=1))
