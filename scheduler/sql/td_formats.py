"""TD_TIME_FORMAT on engines that do not have it: a Java date pattern, of Unix seconds on the clock of a zone. Pure.

Each engine's form depends on nothing but the time: not on the zone of its session, not on tables of zones that it may
lack. Where an engine has no such form, the call is refused.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from zoneinfo import ZoneInfo

_LETTERS = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")


class Word(Enum):
    """The letters of a Java date pattern that every engine has words for."""

    YEAR = "yyyy"
    MONTH = "MM"
    DAY = "dd"
    HOUR = "HH"
    MINUTE = "mm"
    SECOND = "ss"


Parts = Sequence[Word | str]
"""A pattern: words, and text between them."""
_STRFTIME = dict(zip(Word, ("%Y", "%m", "%d", "%H", "%M", "%S"), strict=True))
_TO_CHAR = dict(zip(Word, ("YYYY", "MM", "DD", "HH24", "MI", "SS"), strict=True))
_ISO = dict(zip(Word, ((1, 4), (6, 2), (9, 2), (12, 2), (15, 2), (18, 2)), strict=True))
"""Where a word stands in ``2026-11-24 15:30:10``, and how long it is."""
_ISO_ORDER = (Word.YEAR, "-", Word.MONTH, "-", Word.DAY, " ", Word.HOUR, ":", Word.MINUTE, ":", Word.SECOND)
_SIGNS = re.compile(r"[-/:., ]*")
"""What means itself in every pattern, without quotes."""
_STANDARD = frozenset({"duckdb", "sqlite", "postgres", "trino", "presto", "athena"})
"""Dialects in which a backslash in a string is a letter, and a quote is written twice."""


class NoFormError(ValueError):
    """What cannot be written for an engine so that it surely means the same; the message says what and why."""


def parse_pattern(pattern: str) -> list[Word | str]:
    """Return the parts of a Java date pattern. Raises NoFormError."""
    parts: list[Word | str] = []
    for found in _LETTERS.finditer(pattern):
        text = found[0]
        if found[1] is not None:
            parts.append(found[1].replace("''", "'") or "'")
        elif found[2] is None:
            parts.append(text)
        elif text in {word.value for word in Word}:
            parts.append(Word(text))
        else:
            known = ", ".join(word.value for word in Word)
            raise NoFormError(f"the format has {text}, and only {known} are known here")
    return parts


def format_known(local: datetime, parts: Parts, dialect: str | None) -> str:
    """Return the text of a time that is known here, as a string of the dialect. Raises NoFormError."""
    iso = local.isoformat(sep=" ")  # strftime leaves out the zeros before a short year
    text = [part if isinstance(part, str) else iso[_ISO[part][0] - 1 :][: _ISO[part][1]] for part in parts]
    return quoted("".join(text), dialect)


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


def _written(parts: Parts, words: Mapping[Word, str], text: Callable[[str], str], dialect: str) -> str:
    """Return a string of the dialect with its words, and with ``text`` of what stands between them."""
    return quoted("".join(text(part) if isinstance(part, str) else words[part] for part in parts), dialect)


def _percent(parts: Parts, dialect: str, words: Mapping[Word, str] = _STRFTIME) -> str:
    return _written(parts, words, lambda text: text.replace("%", "%%"), dialect)


def _duckdb(time: str, parts: Parts, zone: ZoneInfo) -> str:
    return f"strftime(to_timestamp({time}) AT TIME ZONE {quoted(zone.key, 'duckdb')}, {_percent(parts, 'duckdb')})"


def _postgres(time: str, parts: Parts, zone: ZoneInfo) -> str:
    def plain(text: str) -> str:
        return text if _SIGNS.fullmatch(text) else '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'

    form = _written(parts, _TO_CHAR, plain, "postgres")
    return f"to_char(to_timestamp({time}) AT TIME ZONE {quoted(zone.key, 'postgres')}, {form})"


def _snowflake(time: str, parts: Parts, zone: ZoneInfo) -> str:
    if any(isinstance(part, str) and '"' in part for part in parts):
        raise NoFormError('the format holds a ", which this engine keeps for itself: leave it out')
    form = _written(parts, _TO_CHAR, lambda text: text if _SIGNS.fullmatch(text) else f'"{text}"', "snowflake")
    return f"TO_CHAR(CONVERT_TIMEZONE('UTC', {quoted(zone.key, 'snowflake')}, TO_TIMESTAMP_NTZ({time}, 0)), {form})"


def _sqlite(time: str, parts: Parts, zone: ZoneInfo) -> str:
    return f"strftime({_percent(parts, 'sqlite')}, {_shifted(time, zone)}, 'unixepoch')"


def _mysql(time: str, parts: Parts, zone: ZoneInfo) -> str:
    clock = f"TIMESTAMP '1970-01-01 00:00:00' + INTERVAL {_shifted(time, zone)} SECOND"
    return f"DATE_FORMAT({clock}, {_percent(parts, 'mysql', {**_STRFTIME, Word.MINUTE: '%i'})})"


def _trino(time: str, parts: Parts, zone: ZoneInfo) -> str:
    def plain(text: str) -> str:
        return text if _SIGNS.fullmatch(text) else "'" + text.replace("'", "''") + "'"

    form = _written(parts, {word: word.value for word in Word}, plain, "trino")
    return f"format_datetime(from_unixtime({time}, {quoted(zone.key, 'trino')}), {form})"


def _spark(time: str, parts: Parts, zone: ZoneInfo) -> str:
    """Take the pieces of ISO text: Spark's own functions read and write times in the zone of the session."""
    clock = f"timestamp_ntz '1970-01-01 00:00:00' + make_dt_interval(0, 0, 0, {time})"
    iso = f"CAST(convert_timezone('UTC', {quoted(zone.key, 'spark')}, {clock}) AS STRING)"
    pieces: list[str] = []
    at = 0
    while at < len(parts):
        part = parts[at]
        if isinstance(part, str):
            pieces.append(quoted(part, "spark"))
            at += 1
            continue
        run = _iso_run(part, parts[at:])
        length = sum(1 if isinstance(each, str) else _ISO[each][1] for each in run)
        pieces.append(f"substr({iso}, {_ISO[part][0]}, {length})")
        at += len(run)
    return f"concat({', '.join(pieces)})"


def _iso_run(first: Word, parts: Parts) -> Parts:
    """Return as many of the parts, from the first, as follow each other in ISO text too."""
    order = _ISO_ORDER[_ISO_ORDER.index(first) :]
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
            f"this engine has no rule for summer time in {zone.key}: use a zone without, such as UTC or JST"
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
