"""Signals of a process that call functions in a thread, whatever the main thread has locked at that moment."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from exporter.host.signals import Signals, unless_ignored


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_call_may_take_a_lock_that_the_main_thread_has_when_the_signals_come() -> None:
    lock, heard = threading.Lock(), []

    def hear() -> None:
        with lock:
            heard.append(threading.current_thread().name)

    with Signals({signal.SIGUSR1: hear}):
        with lock:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGUSR1)
        until(lambda: len(heard) == 3)
    assert set(heard) == {"signals"}


def test_each_signal_has_its_own_call_and_they_come_in_order() -> None:
    heard: list[str] = []
    with Signals({signal.SIGUSR1: lambda: heard.append("1"), signal.SIGUSR2: lambda: heard.append("2")}):
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        until(lambda: len(heard) == 3)
    assert heard == ["2", "1", "2"]


def test_afterwards_everything_is_as_it_was() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with Signals({signal.SIGUSR1: lambda: None}):
        assert signal.getsignal(signal.SIGUSR1) is not before
    assert signal.getsignal(signal.SIGUSR1) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_what_the_parent_has_the_process_ignore_is_left_ignored() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        assert unless_ignored(signal.SIGUSR1, signal.SIGUSR2) == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR1, before)
