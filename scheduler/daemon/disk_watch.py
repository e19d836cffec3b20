"""Room on the disks of the spool and of the state: where it runs short no run is started, until there is some again."""

import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from scheduler.environment.clock import Clock
from scheduler.nodes.health import DISK_FAULT
from scheduler.notifications.messages import NoticeText, disk_fine, disk_short
from scheduler.observability.logging_setup import get_logger
from storage import key_values, notices
from storage.database import Database, Session

LOOK_SECONDS = 2.0
"""How often the disks are looked at."""
ENOUGH = 1.1
"""Runs start again with this many times ``min_free``: a disk at the edge would stop and start them all the time."""

log = get_logger("schedctl.disk")
FreeBytes = Callable[[Path], int]


def free_bytes(directory: Path) -> int:
    """Return what is free for us on the disk of a directory; raises OSError."""
    return shutil.disk_usage(directory).free


class DiskWatch:
    """Tells whether runs may be started. What it finds is announced once, over restarts too, and so is its end."""

    def __init__(
        self, *, database: Database, spool: Path, clock: Clock, free: FreeBytes = free_bytes, host: str | None = None
    ) -> None:
        """Watch the disk of ``spool`` and that of the SQLite file; ``free`` is asked for the free bytes of each."""
        self._database = database
        self._directories = [spool, *([database.path.parent] if database.path is not None else [])]
        self._clock = clock
        self._free = free
        self._host = host or socket.gethostname()
        self._key = f"{DISK_FAULT}{self._host}:{spool}"
        self._told: bool | None = None
        self.has_room = True

    def look(self, min_free: int) -> None:
        """Look at the disks: below ``min_free`` bytes there is no room; 0 never minds."""
        fault = self._fault(min_free if self.has_room else int(min_free * ENOUGH), min_free)
        had_room, self.has_room = self.has_room, fault is None  # first, since a full disk may not even take the notice
        if fault is not None and had_room:
            log.error("disk.short", message=fault)
        elif fault is None and not had_room:
            log.info("disk.room_again")
        if self._told is not self.has_room:
            self._tell(fault)
            self._told = self.has_room

    def _tell(self, fault: str | None) -> None:
        """Announce what changed, unless a daemon before this one did."""
        with self._database.read() as session:
            known = key_values.get(session, self._key)
        if bool(known) == (fault is not None):
            return
        with self._database.write() as session:
            key_values.put(session, self._key, fault or "")
            self._announce(session, disk_fine(self._host) if fault is None else disk_short(self._host, fault))

    def _fault(self, needed: int, min_free: int) -> str | None:
        for directory in self._directories:
            free = self._free_at(directory)
            if free is not None and free < needed:
                return (
                    f"{_size(free)} are free on the disk of {directory}, and no run is started with less than "
                    f"{_size(needed)} (min_free = {_size(min_free)})"
                )
        return None

    def _free_at(self, directory: Path) -> int | None:
        """Return the free bytes there, or where the directory will be made; None where nobody can tell."""
        for place in (directory, *directory.parents):
            with suppress(OSError):
                return self._free(place)
        return None

    def _announce(self, session: Session, told: NoticeText) -> None:
        notices.add(
            session, job=None, run_id=None, kind=told.kind, subject=told.subject, body=told.body, now=self._clock()
        )


def _size(count: int) -> str:
    """Write a number of bytes as the config file does, in the largest unit that leaves it whole enough."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + unit
    return f"{count} bytes"
