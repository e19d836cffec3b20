"""The slot's time and a job's own values inside its SQL: bound, never pasted, and never in a string or a comment."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from exporter.failures import ExportError, configuration
from exporter.sql.dialects import dialect_of_type, possible_dialects
from scheduler.sql.placeholders import candidates, places
from scheduler.sql.td_functions import TdFunctionError, rewrite

SLOT_NAMES = frozenset({"scheduled_time", "last_scheduled_time", "td_scheduled_time"})
"""Names that mean the slot, in any case."""
_TYPED = frozenset({"duckdb", "postgres"})
"""Dialects in which a NULL that nobody gave a type fails where a time would not: ``:last_scheduled_time is null``."""
_IN_WORD = re.compile(r"[\w$]|[^\x00-\x7f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundQuery:
    """SQL with ``$name`` parameters, and the values of those that occur in it."""

    sql: str
    parameters: dict[str, object] = field(default_factory=dict)


def unused(names: Collection[str], sql: str, *, kind: str | None = None) -> list[str]:
    """Return those of the names that stand for no value in ``sql``, sorted; ``kind`` is the type of the source.

    Where that leaves open how strings and comments are read, a name counts that stands for a value in any of the ways.
    """
    plainly = {match["name"] for match in _PLAIN.finditer(sql)}
    left = set(names) - plainly
    return sorted(left - _names_in(sql, kind)) if left else []


_PLAIN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | :: | :(?P<name>[A-Za-z_]\w*)""", re.VERBOSE | re.DOTALL
)
"""Enough to see that most names are used; before a query is said not to use one, it is read properly, which takes 0.1 s
to import. The commands that only look at the config do without."""


def _names_in(sql: str, kind: str | None) -> frozenset[str]:
    """Return the names in ``sql`` that stand for a value, or may; every name of one that cannot be read."""
    found: set[str] = set()
    is_read = False
    for dialect in possible_dialects(kind) if candidates(sql) else ():
        with suppress(ExportError):  # the run will say so
            found |= {place.name for place in places(sql, dialect, lambda _: True) if place.name is not None}
            is_read = True
    return frozenset(found) if is_read else candidates(sql)


def bind(
    sql: str,
    *,
    scheduled_time: datetime,
    last_scheduled_time: datetime | None,
    params: Mapping[str, object] | None = None,
    engine: str | None = None,
    dialect: str | None = None,
) -> BoundQuery:
    """Put the slot into ``sql``: ``TD_SCHEDULED_TIME()`` becomes its Unix time in whole seconds.

    ``:scheduled_time`` and ``:last_scheduled_time`` become UTC timestamps; the latter is the slot of the job's last
    succeeded run, and NULL before the first. ``:name`` becomes the value that ``params`` has for it; any other is left
    alone, and so is everything else, to the letter. ``engine`` is the source's type, ``dialect`` what its SQL is read
    as (:func:`exporter.sql.dialects.dialect_of`), by default that of the type.

    Where the engine is not Treasure Data, the calls of its other time functions are rewritten. Raises configuration
    ``TD_FUNCTION`` where that cannot be, ``QUERY_NOT_READ`` for SQL without an end, and ``QUERY_UNCLEAR`` where it is
    not certain what is a string or a comment.
    """
    dialect = dialect or dialect_of_type(engine)
    if engine not in (None, "treasure_data"):
        try:
            sql = rewrite(sql, engine=str(engine), dialect=dialect, scheduled_time=scheduled_time)
        except TdFunctionError as error:
            raise configuration("TD_FUNCTION", str(error)) from error
    known = params or {}
    slots: dict[str, object] = {"scheduled_time": scheduled_time, "last_scheduled_time": last_scheduled_time}
    parameters: dict[str, object] = {}
    done, at = "", 0
    for place in places(sql, dialect, lambda name: name in known or name.lower() in slots):
        name = "td_scheduled_time" if place.name is None else place.name
        if place.name is None:
            value: object = int(scheduled_time.timestamp())
        elif name in known:
            value = known[name]
        else:
            name = name.lower()
            value = slots[name]
        parameters[name] = value
        reference = f"CAST(${name} AS TIMESTAMPTZ)" if value is None and dialect in _TYPED else f"${name}"
        done += _apart(sql[at : place.start], reference, sql[place.end :][:1])
        at = place.end
    return BoundQuery(sql=done + sql[at:], parameters=parameters)


def _apart(before: str, reference: str, behind: str) -> str:
    """Return ``before`` and a reference that is not one word with what it stands beside.

    ``limit:n`` would be, and to some engines a blank that is none of ASCII's is a letter.
    """
    return f"{before}{' ' * bool(_IN_WORD.fullmatch(before[-1:]))}{reference}{' ' * (behind > chr(127))}"
