"""Live progress of runs that are waited for: a moving line on a terminal, a line now and then otherwise. On stderr."""

import sys
import time
from typing import TYPE_CHECKING, Any, Self

from scheduler.cli.printing.output import say
from scheduler.cli.printing.times import duration, iso, relative
from scheduler.observability.visible_text import visible

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from exporter.events import Event, Progress
    from storage.runs.runs import StoredRun

FREE = "a free worker"
"""What a run waits for that waits for nothing in particular: not worth a word of its own."""
_COUNTS = ("read", "sent", "accepted", "rejected")
LINE_SECONDS = 2.0
"""How often a run's progress is reported where the lines stay."""


class ProgressDisplay:
    """Tells what becomes of runs; a context that clears up after itself."""

    def __init__(self, *, clock: "type[datetime]") -> None:
        self._clock = clock
        self._status: Any = None
        self._last = ""
        self._told_at = 0.0
        self._counts: dict[int, dict[str, int]] = {}
        self._heard: dict[tuple[int, int], Progress] = {}

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - for terminals only

            self._status = Console(stderr=True).status("")
            self._status.start()
        return self

    def __exit__(self, _kind: "type[BaseException] | None", _error: object, _trace: "TracebackType | None") -> None:
        if self._status is not None:
            self._status.stop()

    def watch(self, run: "StoredRun", waits_for: str | None = None) -> None:
        """Tell of a run as it is stored, and what it waits for."""
        self._tell(run, run.progress or self._counts.get(run.id, {}), waits_for=waits_for)

    def listen(self, run: "StoredRun", event: "Event") -> None:
        """Tell of an event of a run that is executed here."""
        from exporter.events import Progress, Retrying, Warned, advance  # noqa: PLC0415 - whoever sends events has imported it

        attempt = (run.id, run.attempt)  # each tells anew of what earlier ones did
        counts = self._heard.get(attempt, Progress())
        after = self._heard[attempt] = advance(counts, event)
        self._counts[run.id] = {key: getattr(after, key) for key in _COUNTS}
        if after.changes is not None:
            self._counts[run.id]["unchanged"] = after.changes.unchanged
        if after != counts:
            self._tell(run, self._counts[run.id], running=True)
        elif isinstance(event, Retrying):
            say(f"run {run.id}: {event.code}: {event.message}; trying again in {duration(event.seconds)}")
        elif isinstance(event, Warned):
            say(f"run {run.id}: {event.code}: {event.message}")

    def _tell(
        self, run: "StoredRun", counts: dict[str, int], *, running: bool = False, waits_for: str | None = None
    ) -> None:
        text = f"run {run.id} ({run.job}): {self._state(run, running=running)}"
        if waits_for is not None and waits_for != FREE and not running and text.endswith(": waiting"):
            text += f" for {waits_for}"
        if run.state != "finished" and counts.get("read"):
            shown = [*_COUNTS, "unchanged"] if "unchanged" in counts else _COUNTS
            text += ", " + ", ".join(f"{counts.get(key, 0):,} {key}" for key in shown)
        if self._status is not None:
            from rich.text import Text  # noqa: PLC0415 - for terminals only

            self._status.update(Text(visible(text)))  # as a plain string it could hold markup
            return
        is_news = text.split(",")[0] != self._last.split(",")[0]
        if text != self._last and (is_news or time.monotonic() - self._told_at >= LINE_SECONDS):
            self._last, self._told_at = text, time.monotonic()
            say(text)

    def _state(self, run: "StoredRun", *, running: bool) -> str:
        if run.state == "finished":
            return str(run.outcome)
        if running or run.state == "running":
            return "running" if run.phase is None else f"running ({run.phase})"
        if run.failure_code is not None and run.attempt:
            next_try = f"at {iso(run.run_time)}"  # where lines stay, one that counts down is a line each second
            if self._status is not None:
                next_try = relative(run.run_time, self._clock.now(run.run_time.tzinfo))
            return f"{run.failure_code}: {run.failure_message}; next try {next_try}"
        return "waiting"
