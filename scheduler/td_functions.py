"""Treasure Data's time functions, for sources that do not have them: calls become plain comparisons and numbers. Pure.

What they mean is Treasure Data's: times are Unix seconds, a range begins with its start and ends before its end, NULL
leaves it open, a time as text is on the clock of the zone (UTC by default), an interval is of whole units before the
slot. A call that cannot be rewritten so that it means the same is a fault; strings and comments are left alone.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from scheduler.sql_text import TOKEN
from scheduler.zones import ZoneError, zone

NAMES = ("TD_TIME_RANGE", "TD_TIME_ADD", "TD_INTERVAL", "TD_TIME_FORMAT", "TD_TIME_PARSE", "TD_SCHEDULED_TIME")
_CALL = re.compile(rf"\b({'|'.join(NAMES)})\s*\(", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+")
_TEXT = re.compile(r"'((?:[^']|'')*)'")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?(?: +(\S+))?")
_DURATION = re.compile(r"([+-]?\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_INTERVAL = re.compile(r"-(\d+)([smhdwMqy])(?:/([+-]?\d+)([smhdwMqy]))?")
_MONTHS = {"M": 1, "q": 3, "y": 12}
_LETTERS = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")
_FORMATS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
"""The letters of a Java date pattern that every engine has words for."""
_TO_CHAR = {"%Y": "YYYY", "%m": "MM", "%d": "DD", "%H": "HH24", "%M": "MI", "%S": "SS"}
_ZONES = {"JST": "Asia/Tokyo", "Z": "UTC", "GMT": "UTC"}
"""Short names that mean one zone only, as Treasure Data takes them; its others are refused."""
_Function = Callable[..., str]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TdFunctionError(ValueError):
    """A call of one of Treasure Data's functions that has no faithful form here; the message names it and says why."""


def rewrite(sql: str, *, engine: str, scheduled_time: datetime) -> str:
    """Return ``sql`` for an engine without these functions; ``engine`` is the source's type. Raises TdFunctionError.

    A bare ``TD_SCHEDULED_TIME()`` is left to :func:`scheduler.query.bind`.
    """
    return _Rewriter(engine, int(scheduled_time.timestamp())).text(sql, inside=False)


class _Rewriter:
    def __init__(self, engine: str, slot: int) -> None:
        self._engine = engine
        self._slot = slot

    def text(self, sql: str, *, inside: bool) -> str:
        """Rewrite the calls in some SQL; ``inside`` the arguments of one, where the slot is a number."""
        done, at = [], 0
        for start, name in _calls(sql):
            if start < at:
                continue  # it stands inside one that was rewritten
            opening = sql.index("(", start)
            arguments, end = _arguments(sql, opening)
            if name == "TD_SCHEDULED_TIME" and not inside:
                continue
            done += [sql[at:start], self._call(name, [self.text(each, inside=True).strip() for each in arguments])]
            at = end
        return "".join([*done, sql[at:]])

    def _call(self, name: str, arguments: list[str]) -> str:
        functions: dict[str, tuple[_Function, int, int]] = {
            "TD_TIME_RANGE": (self._range, 2, 4),
            "TD_TIME_ADD": (self._add, 2, 3),
            "TD_INTERVAL": (self._interval, 2, 3),
            "TD_TIME_FORMAT": (self._format, 2, 3),
            "TD_TIME_PARSE": (self._parse, 1, 2),
        }
        if name == "TD_SCHEDULED_TIME":
            return str(self._slot)
        function, least, most = functions[name]
        given = [] if arguments == [""] else arguments
        if not least <= len(given) <= most:
            raise TdFunctionError(f"{name} takes {least} to {most} arguments, not {len(given)}")
        try:
            return function(*given)
        except TdFunctionError as error:
            raise TdFunctionError(f"{name}: {error}") from error

    def _range(self, time: str, start: str, end: str = "NULL", timezone: str = "'UTC'") -> str:
        zone_ = _zone(timezone)
        low, high = _instant(start, zone_), _instant(end, zone_)
        terms = [f"({time}) {sign} {bound}" for sign, bound in ((">=", low), ("<", high)) if bound is not None]
        return f"({' AND '.join(terms) or f'({time}) IS NOT NULL'})"

    def _add(self, time: str, duration: str, timezone: str = "'UTC'") -> str:
        found = _DURATION.fullmatch(_literal(duration, "the duration"))
        if found is None:
            raise TdFunctionError(f"the duration {duration} is not a number with s, m, h or d, such as '-1d'")
        seconds = int(found[1]) * _SECONDS[found[2]]
        instant = _instant(time, _zone(timezone))
        if instant is None:
            return "NULL"
        return str(int(instant) + seconds) if _NUMBER.fullmatch(instant) else f"({instant} + {seconds})"

    def _interval(self, time: str, interval: str, timezone: str = "'UTC'") -> str:
        found = _INTERVAL.fullmatch(_literal(interval, "the interval"))
        if found is None:
            raise TdFunctionError(
                f"the interval {interval} has no form here: write '-1d', '-2w/-1w' and the like, or TD_TIME_RANGE"
            )
        count, unit, by, of = int(found[1]), found[2], int(found[3] or 0), found[4] or found[2]
        zone_ = _zone(timezone)
        base = _shift(_floor(_local(self._slot, zone_), of), by, of) if by else _local(self._slot, zone_)
        end = _floor(base, unit)
        low, high = (_epoch(each, zone_) for each in (_shift(end, -count, unit), end))
        return f"(({time}) >= {low} AND ({time}) < {high})"

    def _parse(self, time: str, timezone: str = "'UTC'") -> str:
        return _instant(f"'{_literal(time, 'the time')}'", _zone(timezone)) or "NULL"

    def _format(self, time: str, pattern: str, timezone: str = "'UTC'") -> str:
        zone_ = _zone(timezone)
        parts = _pattern(_literal(pattern, "the format"))
        instant = _instant(time, zone_)
        if instant is not None and _NUMBER.fullmatch(instant):
            local = _local(int(instant), zone_)
            return _quoted("".join(local.strftime(part) if part in _TO_CHAR else part for part in parts))
        name = str(zone_)
        if self._engine == "duckdb":
            form = "".join(part if part in _TO_CHAR else part.replace("%", "%%") for part in parts)
            return f"strftime(to_timestamp({time}) AT TIME ZONE {_quoted(name)}, {_quoted(form)})"
        if self._engine == "postgresql":
            form = "".join(_TO_CHAR.get(part) or f'"{part}"'.replace("\\", "\\\\") for part in parts)
            return f"to_char(to_timestamp({time}) AT TIME ZONE {_quoted(name)}, {_quoted(form)})"
        if self._engine == "sqlite" and name == "UTC":
            form = "".join(part if part in _TO_CHAR else part.replace("%", "%%") for part in parts)
            return f"strftime({_quoted(form)}, {time}, 'unixepoch')"
        raise TdFunctionError(f"a {self._engine} source has no form of it for {name}: use the engine's own function")


def _calls(sql: str) -> list[tuple[int, str]]:
    """Return where calls begin, outside of strings, quoted names and comments, and of which function."""
    skipped = [match.span() for match in TOKEN.finditer(sql) if match["skip"] is not None]
    found = [(match.start(), match[1].upper()) for match in _CALL.finditer(sql)]
    return [(at, name) for at, name in found if not any(start <= at < end for start, end in skipped)]


def _arguments(sql: str, opening: int) -> tuple[list[str], int]:
    """Return the arguments between a bracket and its counterpart, and where that ends."""
    skipped = {match.start(): match.end() for match in TOKEN.finditer(sql) if match["skip"] is not None}
    arguments, depth, at, begin = list[str](), 0, opening, opening + 1
    while at < len(sql):
        if at in skipped:
            at = skipped[at]
            continue
        char = sql[at]
        depth += (char in "([{") - (char in ")]}")
        if depth == 0:
            return [*arguments, sql[begin:at]], at + 1
        if char == "," and depth == 1:
            arguments.append(sql[begin:at])
            begin = at + 1
        at += 1
    raise TdFunctionError("a bracket is not closed")


def _literal(argument: str, what: str) -> str:
    found = _TEXT.fullmatch(argument)
    if found is None:
        raise TdFunctionError(f"{what} has to be written in quotes, not as {argument}")
    return found[1].replace("''", "'")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _zone(argument: str) -> tzinfo:
    name = _literal(argument, "the time zone")
    return _named(name)


def _named(name: str) -> tzinfo:
    try:
        return ZoneInfo(zone(_ZONES.get(name.upper(), name)).name)
    except ZoneError as error:
        raise TdFunctionError(f"the time zone {error}") from error


def _instant(argument: str, zone_: tzinfo) -> str | None:
    """Return Unix seconds as SQL: the number, where it is known here, else the expression; NULL is None."""
    if argument.upper() == "NULL":
        return None
    if _NUMBER.fullmatch(argument):
        return argument
    if _TEXT.fullmatch(argument) is None:
        return f"({argument})"
    found = _TIME.fullmatch(_literal(argument, "the time").strip())
    if found is None:
        raise TdFunctionError(f"the time {argument} is not written as '2026-11-24' or '2026-11-24 13:00:00'")
    try:
        local = datetime(*(int(part or 0) for part in found.groups()[:6]))  # type: ignore[arg-type]  # noqa: DTZ001 - a local time, six whole numbers
    except ValueError as error:
        raise TdFunctionError(f"the time {argument} is none: {error}") from error
    return str(_epoch(local, zone_ if found[7] is None else _named(found[7])))


def _local(epoch: int, zone_: tzinfo) -> datetime:
    return (_EPOCH + timedelta(seconds=epoch)).astimezone(zone_).replace(tzinfo=None)


def _epoch(local: datetime, zone_: tzinfo) -> int:
    return int(local.replace(tzinfo=zone_).timestamp())


def _floor(local: datetime, unit: str) -> datetime:
    """Return the beginning of the second, minute, hour, day, week (from Monday), month, quarter or year."""
    if unit in _MONTHS:
        month = 1 if unit == "y" else (local.month - 1) // _MONTHS[unit] * _MONTHS[unit] + 1
        return local.replace(month=month, day=1, hour=0, minute=0, second=0)
    day = local.replace(hour=0, minute=0, second=0)
    if unit in "dw":
        return day - timedelta(days=day.weekday() if unit == "w" else 0)
    return local.replace(minute=0, second=0) if unit == "h" else local.replace(second=0) if unit == "m" else local


def _shift(local: datetime, count: int, unit: str) -> datetime:
    """Go ``count`` units on; ``local`` is the beginning of one."""
    if unit not in _MONTHS:
        seconds = {**_SECONDS, "w": 7 * 86_400}[unit]
        return local + timedelta(seconds=count * seconds)
    months = local.year * 12 + local.month - 1 + count * _MONTHS[unit]
    return local.replace(year=months // 12, month=months % 12 + 1)


def _pattern(pattern: str) -> list[str]:
    """Return the parts of a Java date pattern: %-words of strftime, and text between them."""
    parts: list[str] = []
    for found in _LETTERS.finditer(pattern):
        text = found[0]
        if found[1] is not None:
            parts.append(found[1].replace("''", "'") or "'")
        elif found[2] is None:
            parts.append(text)
        elif text in _FORMATS:
            parts.append(_FORMATS[text])
        else:
            raise TdFunctionError(f"the format has {text}, and only {', '.join(_FORMATS)} are known here")
    return parts
