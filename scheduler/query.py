"""The slot's time inside a job's SQL: bound as parameters, never pasted, and never inside a string or a comment."""

import re
from dataclasses import dataclass, field
from datetime import datetime

_TOKEN = re.compile(
    r"""
    (?P<skip> '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | (?P<tag>\$\w*\$).*?(?P=tag) | :: )
  | (?P<call> \bTD_SCHEDULED_TIME\s*\(\s*\) )
  | :(?P<name> scheduled_time | last_scheduled_time )\b
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
"""What to leave alone (strings, quoted names, comments, dollar-quoted text, casts) and what stands for a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundQuery:
    """SQL with ``$name`` parameters, and the values of those that occur in it."""

    sql: str
    parameters: dict[str, object] = field(default_factory=dict)


def bind(sql: str, *, scheduled_time: datetime, last_scheduled_time: datetime | None) -> BoundQuery:
    """Put the slot into ``sql``: ``TD_SCHEDULED_TIME()`` becomes its Unix time in whole seconds.

    ``:scheduled_time`` and ``:last_scheduled_time`` become UTC timestamps; the latter is the slot of the job's last
    succeeded run, and NULL before the first.
    """
    parameters: dict[str, object] = {}

    def replace(match: re.Match[str]) -> str:
        if match["skip"] is not None:
            return match[0]
        if match["call"] is not None:
            parameters["td_scheduled_time"] = int(scheduled_time.timestamp())
            return "$td_scheduled_time"
        name = match["name"].lower()
        parameters[name] = scheduled_time if name == "scheduled_time" else last_scheduled_time
        return f"${name}"

    return BoundQuery(sql=_TOKEN.sub(replace, sql), parameters=parameters)
