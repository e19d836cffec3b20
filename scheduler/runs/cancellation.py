"""How a running run is stopped: one object that its worker asks and that anyone may tell to stop."""

import threading
import time
from collections.abc import Callable
from enum import StrEnum


class StopReason(StrEnum):
    """Why a run has to stop before its end."""

    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    DRAINING = "draining"
    CLAIM_LOST = "claim_lost"


class RunStopped(Exception):  # noqa: N818 - a stop is no error
    """Raised inside a run's own work, through source, spool and target, once it has to stop."""

    def __init__(self, reason: StopReason) -> None:
        self.reason = reason
        super().__init__(reason.value)


class RunControl:
    """The stop switch of one run; thread-safe. The first reason to stop stands."""

    def __init__(self, *, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``timeout`` is how many seconds the run may take from now; :meth:`tick` looks whether they are over.

        They are counted by ``clock``, which nobody sets: a wall clock that jumps forward ends no run.
        """
        self._clock = clock
        self._deadline = clock() + timeout
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._reason: StopReason | None = None
        self._on_stop: list[Callable[[], None]] = []

    @property
    def reason(self) -> StopReason | None:
        """Why the run was reported to stop, None while it may go on."""
        return self._reason

    def stop(self, reason: StopReason) -> None:
        """Tell the run to stop, and call what was registered with :meth:`on_stop`, once."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            callbacks = list(self._on_stop)
        self._stop.set()
        for callback in callbacks:
            callback()

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Register what else must hear of a stop, such as a query that blocks; called at once if already stopped."""
        with self._lock:
            self._on_stop.append(callback)
            stopped = self._reason is not None
        if stopped:
            callback()

    def tick(self) -> None:
        """Stop the run if its time is over."""
        if self._clock() >= self._deadline:
            self.stop(StopReason.TIMED_OUT)

    def check(self) -> None:
        """Raise RunStopped if the run has to stop, or its time is over."""
        self.tick()
        if self._reason is not None:
            raise RunStopped(self._reason)

    def wait(self, seconds: float) -> None:
        """Wait, but raise RunStopped as soon as the run has to stop."""
        self._stop.wait(max(0.0, min(seconds, self._deadline - self._clock())))
        self.check()
