"""What is read of a stored definition without checking it: by fast reads, and of one that may be unreadable.

The one place that knows what a key means that is left out. Pure, and light to import.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DEFAULT_TIMEZONE: Final = "UTC"
DEFAULT_DELAY: Final = 0
DEFAULT_OVERLAP: Final = "queue"
DEFAULT_CATCH_UP: Final = "latest"
DEFAULT_CHANGES: Final = "all"
DEFAULT_TIMEOUT: Final = 6 * 3600
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A stored definition, key by key. A value of a wrong type counts as one that is left out: its run fails by it."""

    given: Mapping[str, object]

    @property
    def name(self) -> str:
        """The job's name, empty if there is none."""
        return self._text("name")

    @property
    def cron(self) -> str:
        """The cron expression, empty without one."""
        return self._text("cron")

    @property
    def timezone(self) -> str:
        """The IANA zone of the schedule."""
        return self._text("timezone") or DEFAULT_TIMEZONE

    @property
    def starts_at(self) -> str:
        """The first local time, as it is written; empty without one."""
        return self._text("starts_at")

    @property
    def ends_on(self) -> str | None:
        """The last local day, as it is written."""
        return self._text("ends_on") or None

    @property
    def delay(self) -> int:
        """Seconds from the scheduled time to the run time."""
        return self._number("delay", DEFAULT_DELAY)

    @property
    def timeout(self) -> int:
        """Seconds that a run may take."""
        found = self._number("timeout", DEFAULT_TIMEOUT)
        return found if found > 0 else DEFAULT_TIMEOUT

    @property
    def after(self) -> tuple[str, ...]:
        """The jobs that it runs after; empty for all others."""
        found = self.given.get("after")
        return tuple(str(each) for each in found) if isinstance(found, list | tuple) else ()

    @property
    def overlap(self) -> str:
        """What happens to a slot that comes due while the previous run goes on: ``queue``, ``skip`` or ``allow``."""
        return self._text("overlap") or DEFAULT_OVERLAP

    @property
    def catch_up(self) -> str:
        """Which missed slots are run: ``latest``, ``all`` or ``none``."""
        return self._text("catch_up") or DEFAULT_CATCH_UP

    @property
    def changes(self) -> str:
        """Which rows are sent: ``all``, ``new``, ``changed`` or ``mirror``."""
        return self._text("changes") or DEFAULT_CHANGES

    @property
    def sends_all(self) -> bool:
        """Whether each run sends all rows of its result."""
        return self.changes == DEFAULT_CHANGES

    @property
    def export(self) -> Mapping[str, object]:
        """The settings of the export; empty if they cannot be read."""
        found = self.given.get("export")
        return found if isinstance(found, Mapping) else {}

    @property
    def source(self) -> str:
        """The name of the source's connection, empty if there is none."""
        return self._text("source")

    @property
    def target(self) -> str:
        """The name of the target's connection, empty if there is none."""
        found = self.export.get("connection")
        return found if isinstance(found, str) else ""

    @property
    def connections(self) -> tuple[str, ...]:
        """The names of the connections that it uses, each once."""
        return tuple(dict.fromkeys(filter(None, (self.source, self.target))))

    def _text(self, key: str) -> str:
        found = self.given.get(key)
        return found if isinstance(found, str) else ""

    def _number(self, key: str, default: int) -> int:
        found = self.given.get(key)
        return found if isinstance(found, int) and not isinstance(found, bool) else default
