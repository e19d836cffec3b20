"""``python moved_clock.py OFFSET_FILE ARGUMENTS…``: schedctl under a wall clock that a file moves.

The file holds the seconds to add. Every module that asks ``datetime`` for the time, schedctl's and APScheduler's, gets
the moved one; the monotonic clock goes on as ever, as it does where an administrator or NTP sets the time.
"""

import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any


class _Instances(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def moved(offset: Path) -> type[datetime]:
    """Return a ``datetime`` whose ``now`` is moved by what the file says at that moment."""

    class Moved(datetime, metaclass=_Instances):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=float(offset.read_text(encoding="ascii")))

    return Moved


def main() -> None:
    """Import what runs, move its clock, run it."""
    offset, *arguments = sys.argv[1:]
    import scheduler.cli.commands.runs  # noqa: PLC0415
    import scheduler.cli.commands.service  # noqa: PLC0415
    import scheduler.cli.main  # noqa: PLC0415 - before the clock is moved
    import scheduler.daemon.daemon  # noqa: PLC0415

    clock = moved(Path(offset))
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("scheduler", "apscheduler", "storage", "exporter"):
            for key, value in list(vars(module).items()):
                if value is datetime:
                    setattr(module, key, clock)
    sys.argv = ["schedctl", *arguments]
    scheduler.cli.main.main()


if __name__ == "__main__":
    main()
