"""Treasure Data's time functions, for sources that do not have them: calls become plain comparisons and numbers. Pure.

What they mean is Treasure Data's: times are Unix seconds, a range begins with its start and ends before its end, NULL
leaves it open, a time as text is on the clock of the zone (UTC by default), an interval is of whole units before the
slot. A call that cannot be rewritten so that it means the same is a fault; strings and comments are left alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.sql.dialects import dialect_of_type
from exporter.sql.token_kinds import Kind, Token
from exporter.sql.tokens import find
from scheduler.schedules.timezones import ZoneError, zone
from scheduler.sql.td_formats import NoFormError, format_column, format_known, parse_pattern

NAMES = ("TD_TIME_RANGE", "TD_TIME_ADD", "TD_INTERVAL", "TD_TIME_FORMAT", "TD_TIME_PARSE", "TD_SCHEDULED_TIME")
_CALL = re.compile(rf"\b(?:{'|'.join(NAMES)})\b", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+")
_TEXT = re.compile(r"'((?:[^']|'')*)'")
_SLOT = re.compile(r":(?:last_)?scheduled_time", re.IGNORECASE)
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?(?: +(\S+))?")
_DURATION = re.compile(r"([+-]?\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_INTERVAL = re.compile(r"-(\d+)([smhdwMqy])(?:/([+-]?\d+)([smhdwMqy]))?")
_MONTHS = {"M": 1, "q": 3, "y": 12}
_ZONES = {"JST": "Asia/Tokyo", "Z": "UTC", "GMT": "UTC"}
"""Short names that mean one zone only, as Treasure Data takes them; its others are refused."""
_Function = Callable[..., str]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TdFunctionError(ValueError):
    """A call of one of Treasure Data's functions that has no faithful form here; the message names it and says why."""


def rewrite(sql: str, *, engine: str, scheduled_time: datetime, dialect: str | None = None) -> str:
    """Return ``sql`` for an engine without these functions. Raises TdFunctionError.

    ``engine`` is the source's type, ``dialect`` what its SQL is read and written as, by default that of the type. A
    bare ``TD_SCHEDULED_TIME()`` is left to :func:`scheduler.sql.bind.bind`. Raises ExportError as
    :func:`exporter.sql.tokens.find` does.
    """
    return _Rewriter(engine, dialect or dialect_of_type(engine), int(scheduled_time.timestamp())).text(
        sql, inside=False
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """A call and its arguments, without the spaces and comments around them."""

    name: str
    start: int
    end: int
    arguments: tuple[tuple[int, int], ...]


class _Rewriter:
    def __init__(self, engine: str, dialect: str | None, slot: int) -> None:
        self._engine = engine
        self._dialect = dialect
        self._slot = slot

    def text(self, sql: str, *, inside: bool) -> str:
        """Rewrite the calls in some SQL; ``inside`` the arguments of one, where the slot is a number."""
        if _CALL.search(sql) is None:
            return sql
        done, at = [], 0
        for call in find(sql, self._dialect, lambda tokens: _calls(sql, tokens)):
            if call.name == "TD_SCHEDULED_TIME" and not inside:
                continue
            arguments = [self.text(sql[start:end], inside=True) for start, end in call.arguments]
            done += [sql[at : call.start], self._call(call.name, arguments)]
            at = call.end
        return "".join([*done, sql[at:]])

    def _call(self, name: str, given: list[str]) -> str:
        functions: dict[str, tuple[_Function, int, int]] = {
            "TD_TIME_RANGE": (self._range, 2, 4),
            "TD_TIME_ADD": (self._add, 2, 3),
            "TD_INTERVAL": (self._interval, 2, 3),
            "TD_TIME_FORMAT": (self._format, 2, 3),
            "TD_TIME_PARSE": (self._parse, 1, 2),
            "TD_SCHEDULED_TIME": (lambda: str(self._slot), 0, 0),
        }
        function, least, most = functions[name]
        if not least <= len(given) <= most:
            raise TdFunctionError(f"{name} takes {least} to {most} arguments, not {len(given)}")
        try:
            _check_arguments(given)
            return function(*given)
        except NoFormError as error:
            raise TdFunctionError(f"{name} on a source of type {self._engine}: {error}") from error
        except TdFunctionError as error:
            raise TdFunctionError(f"{name}: {error}") from error
        except (OverflowError, ValueError) as error:
            raise TdFunctionError(f"{name}: it leads out of the years 1 to 9999") from error

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
        parts = parse_pattern(_literal(pattern, "the format"))
        instant = _instant(time, zone_)
        if instant is not None and _NUMBER.fullmatch(instant):
            return format_known(_local(int(instant), zone_), parts, self._dialect)
        return format_column(time, parts, zone_, self._dialect)


def _calls(sql: str, tokens: tuple[Token, ...]) -> list[_Call]:
    """Return the calls of these functions, but not those inside the arguments of another."""
    found: list[_Call] = []
    for at, token in enumerate(tokens):
        if token.kind is not Kind.WORD or (found and token.start < found[-1].end):
            continue
        name, opening = sql[token.start : token.end].upper(), tokens[at + 1 : at + 2]
        is_qualified = at > 0 and sql[tokens[at - 1].start] == "."  # somebody's own function of that name
        if name in NAMES and opening and sql[opening[0].start] == "(" and not is_qualified:
            found.append(_call(sql, name, tokens[at:]))
    return found


def _call(sql: str, name: str, tokens: tuple[Token, ...]) -> _Call:
    """Return the call that begins with the first of the tokens."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    for token in tokens[1:]:
        sign = sql[token.start : token.end] if token.kind is Kind.SIGN else ""
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if depth == 0:
            spans = tuple((each[0].start, each[-1].end) for each in arguments if each)
            if len(spans) != len(arguments) and spans:
                raise TdFunctionError(f"{name}: an argument is empty")
            return _Call(name=name, start=tokens[0].start, end=token.end, arguments=spans)
        if sign == "," and depth == 1:
            arguments.append([])
        elif token is not tokens[1]:
            arguments[-1].append(token)
    raise TdFunctionError(f"{name}: a bracket is not closed")


_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")


def _check_arguments(given: list[str]) -> None:
    for argument in given:
        if _SLOT.fullmatch(argument):
            raise TdFunctionError(
                f"{argument} is a timestamp, and this function takes Unix seconds: write TD_SCHEDULED_TIME(), "
                "or compare a column of timestamps with < and >="
            )


def _literal(argument: str, what: str) -> str:
    found = _TEXT.fullmatch(argument)
    if found is None:
        raise TdFunctionError(f"{what} has to be written in single quotes, not as {argument}")
    return found[1].replace("''", "'")


def _zone(argument: str) -> ZoneInfo:
    name = _literal(argument, "the time zone")
    return _named(name)


def _named(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone(_ZONES.get(name.upper(), name)).name)
    except ZoneError as error:
        raise TdFunctionError(f"the time zone {error}") from error


def _instant(argument: str, zone_: ZoneInfo) -> str | None:
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


def _local(epoch: int, zone_: ZoneInfo) -> datetime:
    return (_EPOCH + timedelta(seconds=epoch)).astimezone(zone_).replace(tzinfo=None)


def _epoch(local: datetime, zone_: ZoneInfo) -> int:
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
