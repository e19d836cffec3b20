"""Lines of a Vixie crontab as schedules of this dialect, with Vixie's own rules made explicit. Pure.

Vixie counts ``*/n`` from the field's first value, and its "star bit" rule joins the two day fields with AND if either
*begins* with ``*``, else with OR (the crontab(5) manual page of Debian's cron).
"""

import re
from dataclasses import dataclass

from scheduler.cron import ALIASES, CronError, parse
from scheduler.schedule import ScheduleError, make_schedule

_SETTING = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class CrontabLine:
    """One job line: its number (from 1), schedule and command, or the fault that keeps it from being carried over."""

    number: int
    cron: str = ""
    timezone: str | None = None
    day_match: str = "or"
    step: str = "offset"
    command: str = ""
    fault: str | None = None


def parse_crontab(text: str, *, with_user: bool = False) -> list[CrontabLine]:
    """Read crontab text; ``with_user`` for /etc/crontab, whose lines name a user before the command.

    Blank lines, comments and settings are left out; ``CRON_TZ`` holds for the lines after it.
    """
    found: list[CrontabLine] = []
    timezone: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        setting = _SETTING.fullmatch(stripped)
        if setting:
            if setting[1] == "CRON_TZ":
                timezone = setting[2].strip().strip("\"'") or None
            continue
        found.append(_line(number, stripped, timezone, with_user=with_user))
    return found


def _line(number: int, line: str, timezone: str | None, *, with_user: bool) -> CrontabLine:
    words = line.split(None, 1) if line.startswith("@") else line.split(None, 5)
    fields, command = words[:-1], words[-1]
    if (line.startswith("@") and len(words) != 2) or (not line.startswith("@") and len(words) != 6):  # noqa: PLR2004
        return CrontabLine(number=number, fault="five fields (or an alias such as @daily) and a command are needed")
    cron = " ".join(fields)
    if with_user:
        command = command.split(None, 1)[-1]
    starred = len(fields) == 5 and (fields[2].startswith("*") or fields[4].startswith("*"))  # noqa: PLR2004
    day_match = "and" if starred and "*" not in (fields[2], fields[4]) else "or"
    try:
        text = parse(ALIASES.get(cron, cron), step="offset", day_match=day_match).text
        make_schedule(text, timezone=timezone or "UTC", step="offset", day_match=day_match)
    except (CronError, ScheduleError) as error:
        return CrontabLine(number=number, cron=cron, timezone=timezone, command=command, fault=error.message)
    return CrontabLine(number=number, cron=text, timezone=timezone, day_match=day_match, command=command)
