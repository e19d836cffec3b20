"""TD_TIME_FORMAT on engines that do not have it: a Java date pattern, of Unix seconds on the clock of a zone. Pure.

Each engine's form depends on nothing but the time: not on the zone of its session, not on tables of zones that it may
lack. Where an engine has no such form, the call is refused.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_LETTERS = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")
WORDS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
"""The letters of a Java date pattern that every engine has words for, and strftime's words, by which they go here."""
_ISO_PLACES = {"%Y": (1, 4), "%m": (6, 2), "%d": (9, 2), "%H": (12, 2), "%M": (15, 2), "%S": (18, 2)}
"""Where they stand in ``2026-11-24 15:30:10``, and how long they are."""
_ISO_ORDER = ("%Y", "-", "%m", "-", "%d", " ", "%H", ":", "%M", ":", "%S")
_SIGNS = re.compile(r"[-/:., ]*")
"""What means itself in every pattern, without quotes."""
_STANDARD = frozenset({"duckdb", "sqlite", "postgres", "trino", "presto", "athena"})
"""Dialects in which a backslash in a string is a letter, and a quote is written twice."""
Parts = Sequence[str]


class NoFormError(ValueError):
    """What cannot be written for an engine so that it surely means the same; the message says what and why."""


def parse_pattern(pattern: str) -> list[str]:
    """Return the parts of a Java date pattern: %-words of strftime, and text between them. Raises NoFormError."""
    parts: list[str] = []
    for found in _LETTERS.finditer(pattern):
        text = found[0]
        if found[1] is not None:
            parts.append(found[1].replace("''", "'") or "'")
        elif found[2] is None:
            parts.append(text)
        elif text in WORDS:
            parts.append(WORDS[text])
        else:
            raise NoFormError(f"the format has {text}, and only {', '.join(WORDS)} are known here")
    return parts


def format_known(local: datetime, parts: Parts, dialect: str | None) -> str:
    """Return the text of a time that is known here, as a string of the dialect. Raises NoFormError."""
    return quoted("".join(f"{local:%Y}".zfill(4) if part == "%Y" else _known(local, part) for part in parts), dialect)


def _known(local: datetime, part: str) -> str:
    return local.strftime(part) if part in _ISO_PLACES else part


def format_column(time: str, parts: Parts, zone: ZoneInfo, dialect: str | None) -> str:
    """Return SQL for the text of ``time``, an expression of Unix seconds. Raises NoFormError."""
    write = _FORMS.get(dialect or "")
    if write is None:
        raise NoFormError("this engine has no form of it here: write its own function for dates instead")
    return write(time, parts, zone)


def quoted(text: str, dialect: str | None) -> str:
    """Return ``text`` as a string of the dialect. Raises NoFormError if that depends on what is not known here."""
    if dialect not in _STANDARD and ("'" in text or "\\" in text):
        raise NoFormError("the text holds a quote or a backslash, which engines write in different ways: leave it out")
    return "'" + text.replace("'", "''") + "'"


def _percent(parts: Parts, dialect: str, **others: str) -> str:
    """Write %-words, in a string; ``others`` are those that the engine calls otherwise."""
    words = {word: others.get(word[1:], word) for word in _ISO_PLACES}
    return quoted("".join(words.get(part) or part.replace("%", "%%") for part in parts), dialect)


def _duckdb(time: str, parts: Parts, zone: ZoneInfo) -> str:
    return f"strftime(to_timestamp({time}) AT TIME ZONE {quoted(zone.key, 'duckdb')}, {_percent(parts, 'duckdb')})"


_TO_CHAR = {"%Y": "YYYY", "%m": "MM", "%d": "DD", "%H": "HH24", "%M": "MI", "%S": "SS"}


def _to_char_text(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _postgres(time: str, parts: Parts, zone: ZoneInfo) -> str:
    words = [_TO_CHAR.get(part) or (part if _SIGNS.fullmatch(part) else _to_char_text(part)) for part in parts]
    form = "".join(words)
    return f"to_char(to_timestamp({time}) AT TIME ZONE {quoted(zone.key, 'postgres')}, {quoted(form, 'postgres')})"


def _snowflake(time: str, parts: Parts, zone: ZoneInfo) -> str:
    if any('"' in part for part in parts):
        raise NoFormError('the format holds a ", which this engine keeps for itself: leave it out')
    form = "".join(_TO_CHAR.get(part) or (part if _SIGNS.fullmatch(part) else f'"{part}"') for part in parts)
    clock = f"CONVERT_TIMEZONE('UTC', {quoted(zone.key, 'snowflake')}, TO_TIMESTAMP_NTZ({time}, 0))"
    return f"TO_CHAR({clock}, {quoted(form, 'snowflake')})"


def _sqlite(time: str, parts: Parts, zone: ZoneInfo) -> str:
    return f"strftime({_percent(parts, 'sqlite')}, {_shifted(time, zone)}, 'unixepoch')"


def _mysql(time: str, parts: Parts, zone: ZoneInfo) -> str:
    clock = f"TIMESTAMP '1970-01-01 00:00:00' + INTERVAL {_shifted(time, zone)} SECOND"
    return f"DATE_FORMAT({clock}, {_percent(parts, 'mysql', M='%i')})"


def _java(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _trino(time: str, parts: Parts, zone: ZoneInfo) -> str:
    java = {word: letters for letters, word in WORDS.items()}
    form = "".join(java.get(part) or (part if _SIGNS.fullmatch(part) else _java(part)) for part in parts)
    return f"format_datetime(from_unixtime({time}, {quoted(zone.key, 'trino')}), {quoted(form, 'trino')})"


def _spark(time: str, parts: Parts, zone: ZoneInfo) -> str:
    """Take the pieces of ISO text: Spark's own functions read and write times in the zone of the session."""
    clock = f"timestamp_ntz '1970-01-01 00:00:00' + make_dt_interval(0, 0, 0, {time})"
    text = f"CAST(convert_timezone('UTC', {quoted(zone.key, 'spark')}, {clock}) AS STRING)"
    pieces: list[str] = []
    at = 0
    while at < len(parts):
        if parts[at] not in _ISO_PLACES:
            pieces.append(quoted(parts[at], "spark"))
            at += 1
            continue
        run = _iso_run(parts[at:])
        length = sum(_ISO_PLACES[part][1] if part in _ISO_PLACES else len(part) for part in run)
        pieces.append(f"substr({text}, {_ISO_PLACES[parts[at]][0]}, {length})")
        at += len(run)
    return f"concat({', '.join(pieces)})"


def _iso_run(parts: Parts) -> Parts:
    """Return as many of the parts, from the first, as follow each other in ISO text too."""
    order = _ISO_ORDER[_ISO_ORDER.index(parts[0]) :]
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(parts, order, strict=False))
    return [part for part, _ in same]


def _bigquery(time: str, parts: Parts, zone: ZoneInfo) -> str:
    form, name = _percent(parts, "bigquery"), quoted(zone.key, "bigquery")
    return f"FORMAT_TIMESTAMP({form}, TIMESTAMP_SECONDS({time}), {name})"


_FORMS: dict[str, Callable[[str, Parts, ZoneInfo], str]] = {
    "bigquery": _bigquery,
    "databricks": _spark,
    "duckdb": _duckdb,
    "mysql": _mysql,
    "postgres": _postgres,
    "presto": _trino,
    "snowflake": _snowflake,
    "spark": _spark,
    "sqlite": _sqlite,
    "trino": _trino,
}


def _shifted(time: str, zone: ZoneInfo) -> str:
    """Write ``time`` so that it reads in UTC as it does in the zone, for engines that know no zones."""
    offset = _constant_offset(zone)
    if offset is None:
        raise NoFormError(
            f"this engine cannot tell when it is summer time in {zone.key}: use a zone without, such as UTC or JST"
        )
    return f"({time})" if offset == 0 else f"(({time}) + {offset})"


@lru_cache
def _constant_offset(zone: ZoneInfo) -> int | None:
    """Return the seconds by which a zone is ahead of UTC, if they have been the same since 1970."""
    first = datetime(1970, 1, 1, tzinfo=UTC)
    days = range(0, 48_000, 2)  # to 2101; no zone has changed its clock for a day only
    offsets = {(first + timedelta(days=day)).astimezone(zone).utcoffset() for day in days}
    [offset, *others] = offsets
    return None if others or offset is None else int(offset.total_seconds())
