"""The notify protocol of systemd: datagrams to the socket in NOTIFY_SOCKET, and nothing where there is none.

Protocol: the sd_notify(3) and sd_watchdog_enabled(3) manual pages of systemd. Version 252 has no Type=notify-reload, so
the unit's ExecReload= asks for a reload and waits for it; the messages are the same.
"""

import os
import socket
import time
from collections.abc import Mapping

from scheduler.observability.visible_text import visible

MICROSECONDS = 1_000_000
MAX_STATUS = 200
"""Characters of a status line; `systemctl status` shows it on one."""
LEAST_WATCHDOG = 60.0
"""Seconds that the watchdog should allow: the loop may wait twice 20 s for the state database (a thread of its own
process, then another process) before it is reported no."""
PINGS_EACH = 4
"""How often the watchdog's time is divided: systemd asks for two pings in it, and a tick may be late."""


def notify(*lines: str) -> None:
    """Send state lines such as ``READY=1``; does nothing outside systemd. A socket that is gone is no error.

    A line break within a line becomes a blank: what follows it would count as another message.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or address[0] not in "/@":
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    message = "\n".join(" ".join(line.split()) for line in lines)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(name)
            sender.sendall(message.encode(errors="replace"))
    except OSError:
        return  # the service manager went away: no reason to stop exporting


def status_line(*, jobs: int, running: int, fault: str, has_room: bool, storage: str = "") -> str:
    """Say in a line how the daemon does.

    ``fault`` is what is wrong with the config file, ``storage`` what the state database says to refuse; both are empty
    if nothing is.
    """
    parts = [f"{jobs} job{'s' if jobs != 1 else ''}, {running} running"]
    if storage:
        parts.append(f"nothing can be stored: {storage}")
    if not has_room:
        parts.append("a disk is nearly full: no run is started")
    if fault:
        first, *_ = fault.split("\n")
        parts.append(f"the config file is refused: {first}")
    return _shortened("; ".join(parts))


def stopping_line(*, running: int, storage: str = "") -> str:
    """Say in a line what a daemon that is to end still waits for."""
    line = f"stopping: waits for {running} run{'s' if running != 1 else ''} to end" if running else "stopping"
    return _shortened(f"{line}; nothing can be stored: {storage}" if storage else line)


def _shortened(text: str) -> str:
    text = visible(text)
    return text if len(text) <= MAX_STATUS else text[: MAX_STATUS - 1] + "…"


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return within which time systemd wants to hear from this process; None if it does not ask it to."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    given = environ.get("WATCHDOG_USEC", "")
    return int(given) / MICROSECONDS if given.isascii() and given.isdigit() and int(given) else None


class Manager:
    """The service manager, as the daemon talks to it; several threads may. A status is sent when it is new."""

    def __init__(self) -> None:
        watchdog = watchdog_seconds(os.environ, os.getpid())
        self._ping_every = None if watchdog is None else watchdog / PINGS_EACH
        self._pinged_at = 0.0
        self._status = ""

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, has ended and work is done."""
        self._status = status
        notify("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload begins, with the monotonic time that systemd asks for with it."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def say(self, status: str) -> None:
        """Say how the daemon does, if that is news."""
        if status != self._status:
            self._status = status
            notify(f"STATUS={status}")

    def ping(self) -> None:
        """Tell the watchdog that the loop turns, as often as it needs to know; called by each turn and nobody else."""
        if self._ping_every is None:
            return
        now = time.monotonic()
        if not self._pinged_at or now - self._pinged_at >= self._ping_every:
            self._pinged_at = now
            notify("WATCHDOG=1")

    def stopping(self, seconds: float, status: str) -> None:
        """Say that the end begins and may take so long, whatever the unit allows for it; the watchdog waits too."""
        self._status = status
        notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * MICROSECONDS)}", f"STATUS={status}")
