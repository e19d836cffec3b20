"""A state database that refuses, as the daemon tells of it: when that begins, now and then a count, and its end."""

import threading
import time
from collections.abc import Callable

from scheduler.observability.logging_setup import get_logger
from storage.engine.errors import StorageError

AGAIN_SECONDS = 60.0
"""How often a refusal that goes on is logged anew; every chore meets it once a second or more."""

log = get_logger("schedctl.daemon")


class Refusals:
    """What the state database refuses at the moment; several threads may tell of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._codes: set[str] = set()
        self._count = 0
        self._since = self._told = 0.0
        self._fault = ""

    @property
    def fault(self) -> str:
        """What it said last; empty while it takes what is written."""
        return self._fault

    def refused(self, error: StorageError) -> None:
        """Count a refusal; log it if it is the first, of another kind, or the last line of it is a minute old."""
        now = self._clock()
        with self._lock:
            if not self._fault:
                self._since = now
            self._fault = error.message
            self._count += 1
            if error.code in self._codes and now - self._told < AGAIN_SECONDS:
                return
            self._codes.add(error.code)
            self._told, count = now, self._count
        log.error("storage.refused", code=error.code, message=error.message, refusals=count)

    def answered(self) -> None:
        """Note that something was written."""
        with self._lock:
            if not self._fault:
                return
            count, seconds = self._count, self._clock() - self._since
            self._codes, self._count, self._fault = set(), 0, ""
        log.info("storage.answers_again", refusals=count, seconds=round(seconds, 1))
