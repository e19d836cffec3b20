"""Lines of a Vixie crontab as schedules of this dialect, with Vixie's own rules made explicit. Pure.

Vixie counts ``*/n`` from the field's first value, and its "star bit" rule joins the two day fields with AND if either
*begins* with ``*``, else with OR (entry.c and cron.c of Debian's cron 3.0pl1; crontab(5) tells half of it).
"""

import re
from dataclasses import dataclass

from scheduler.schedules.expression import ALIASES, CronError, parse
from scheduler.schedules.schedule import ScheduleError, make_schedule

_SETTING = re.compile(r"""["']?([A-Za-z_][A-Za-z0-9_]*)["']?[ \t]*=[ \t]*(.*)""")
_BLANKS = re.compile(r"[ \t]+")
_FIELDS = 5


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

    Blank lines, comments and settings are left out; ``CRON_TZ`` holds for the lines after it. A line that this
    dialect has no words for (``@reboot``, ``*`` in a list, ``*/60``) is a fault that says what to write instead.
    """
    found: list[CrontabLine] = []
    timezone: str | None = None
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(" \t\r")
        if not stripped or stripped.startswith("#"):
            continue
        setting = _SETTING.fullmatch(stripped)
        if setting is None:
            found.append(_line(number, stripped, timezone, with_user=with_user))
        elif setting[1] == "CRON_TZ":
            timezone = setting[2].strip(" \t\"'") or None
    return found


def star_bit_rule(cron: str) -> str:
    """Return the day_match that makes Vixie's rule for the two day fields explicit."""
    fields = cron.split(" ")
    if len(fields) != _FIELDS or "*" in (fields[2], fields[4]):
        return "or"
    return "and" if fields[2][0] == "*" or fields[4][0] == "*" else "or"


def _line(number: int, line: str, timezone: str | None, *, with_user: bool) -> CrontabLine:
    times = 1 if line.startswith("@") else _FIELDS
    words = _BLANKS.split(line, maxsplit=times + with_user)
    if len(words) != times + with_user + 1:
        user = ", a user" if with_user else ""
        return CrontabLine(
            number=number, fault=f"five fields (or an alias such as @daily){user} and a command are needed"
        )
    cron, command = " ".join(words[:times]), words[-1]
    cron = ALIASES.get(cron, cron)
    day_match = star_bit_rule(cron)
    try:
        text = parse(cron, step="offset", day_match=day_match).text
        make_schedule(text, timezone=timezone or "UTC", step="offset", day_match=day_match)
    except (CronError, ScheduleError) as error:
        return CrontabLine(number=number, cron=cron, timezone=timezone, command=command, fault=error.message)
    return CrontabLine(number=number, cron=text, timezone=timezone, day_match=day_match, command=command)
