"""The slot's time and a job's own values inside its SQL: bound, never pasted, and never in a string or a comment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from exporter.failures import configuration
from scheduler.sql_text import TOKEN
from scheduler.td_functions import TdFunctionError, rewrite

SLOT_NAMES = frozenset({"scheduled_time", "last_scheduled_time", "td_scheduled_time"})
"""Names that mean the slot, in any case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundQuery:
    """SQL with ``$name`` parameters, and the values of those that occur in it."""

    sql: str
    parameters: dict[str, object] = field(default_factory=dict)


def names_in(sql: str) -> frozenset[str]:
    """Return the names that stand behind a colon in ``sql``, as written; not all of them need be parameters."""
    return frozenset(match["name"] for match in TOKEN.finditer(sql) if match["name"] is not None)


def bind(
    sql: str,
    *,
    scheduled_time: datetime,
    last_scheduled_time: datetime | None,
    params: Mapping[str, object] | None = None,
    engine: str | None = None,
) -> BoundQuery:
    """Put the slot into ``sql``: ``TD_SCHEDULED_TIME()`` becomes its Unix time in whole seconds.

    ``:scheduled_time`` and ``:last_scheduled_time`` become UTC timestamps; the latter is the slot of the job's last
    succeeded run, and NULL before the first. ``:name`` becomes the value that ``params`` has for it; any other is left
    alone. ``engine`` is the source's type: where it is not Treasure Data, the calls of its other time functions are
    rewritten; where that cannot be, the ExportError is TD_FUNCTION.
    """
    if engine not in (None, "treasure_data"):
        try:
            sql = rewrite(sql, engine=str(engine), scheduled_time=scheduled_time)
        except TdFunctionError as error:
            raise configuration("TD_FUNCTION", str(error)) from error
    parameters: dict[str, object] = {}
    known = params or {}

    def replace(match: re.Match[str]) -> str:
        if match["skip"] is not None:
            return match[0]
        if match["call"] is not None:
            parameters["td_scheduled_time"] = int(scheduled_time.timestamp())
            return "$td_scheduled_time"
        name = match["name"]
        if name in known:
            parameters[name] = known[name]
            return f"${name}"
        name = name.lower()
        if name not in ("scheduled_time", "last_scheduled_time"):
            return match[0]
        parameters[name] = scheduled_time if name == "scheduled_time" else last_scheduled_time
        return f"${name}"

    return BoundQuery(sql=TOKEN.sub(replace, sql), parameters=parameters)
