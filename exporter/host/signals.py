"""Signals as calls in a thread of their own, where a lock may be taken."""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Self

_AT_ONCE = 64
"""Bytes that are read from the pipe at once: one a signal."""


class Signals:
    """From :meth:`start` to :meth:`stop` (or in the ``with`` block), calls a function for each signal, one by one.

    Python runs a signal handler in the main thread, wherever that is: also inside another handler, and while it has a
    lock. A handler that takes the same lock then waits for ever: ``threading.Event.set`` takes one, logging several.
    So the handlers here do nothing. The interpreter itself writes each signal's number to a pipe (``set_wakeup_fd``),
    which a thread reads. Only for the main thread, and once at a time.
    """

    def __init__(self, calls: Mapping[signal.Signals, Callable[[], None]]) -> None:
        """Take the functions to call, by signal; they must not raise."""
        self._calls = calls
        self._thread = threading.Thread(target=self._work, name="signals", daemon=True)

    def start(self) -> Self:
        """Begin."""
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._fd_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._handlers_before = {number: signal.signal(number, _nothing) for number in self._calls}
        self._thread.start()
        return self

    def stop(self) -> None:
        """Have the process handle its signals as before."""
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._writing)
        self._thread.join()
        os.close(self._reading)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _work(self) -> None:
        while numbers := os.read(self._reading, _AT_ONCE):
            for number in numbers:
                if number in self._calls:  # others may have handlers that others set
                    self._calls[signal.Signals(number)]()


def unless_ignored(*numbers: signal.Signals) -> list[signal.Signals]:
    """Return those signals that whoever started this process did not have it ignore, as nohup does with SIGHUP."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Let the interpreter write the signal's number to the pipe."""
