"""The TD cron dialect: text to a frozen expression with expanded sets, and back to words. Pure; see docs/dialect.md.

Where Treasure Data's page, its engines and other crons disagree, DESIGN and docs/dialect.md say which rule holds here.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from scheduler.dates import DayMasks, dates_in_400_years

MAX_TEXT = 1000
"""Longer text is refused unread: the longest useful expression, every minute and hour listed, has under 400."""
STEPS = ("multiples", "offset")
DAY_MATCHES = ("or", "more-often", "and")
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class CronError(ValueError):
    """Text that is no expression of the dialect. ``column`` counts from 1 in the text as given; None: all of it."""

    def __init__(
        self, message: str, *, field: str | None = None, token: str | None = None, column: int | None = None
    ) -> None:
        self.field = field
        self.token = token
        self.column = column
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields: its name, its legal values, the largest step, and its names if it has any."""

    name: str
    low: int
    high: int
    max_step: int
    names: tuple[str, ...] = ()
    name_base: int = 0


FIELDS = (
    _Field("minute", 0, 59, 59),
    _Field("hour", 0, 23, 23),
    _Field("day of month", 1, 31, 31),
    _Field("month", 1, 12, 12, MONTH_NAMES, 1),
    _Field("day of week", 0, 7, 6, DAY_NAMES, 0),
)
_Fail = Callable[[str], "CronError"]
_DIGITS = frozenset("0123456789")


@dataclass(frozen=True, kw_only=True)
class CronExpression:
    """A parsed expression. ``text`` is normalised (single blanks, lower case); empty: no schedule, it never fires.

    The five tuples are sorted and hold every value; Sunday is 0. ``day_starred`` and ``weekday_starred`` say that the
    field was a literal ``*``. With ``day_match = "more-often"``, ``ignored`` names the day field that is not followed.
    """

    text: str
    minutes: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    days: tuple[int, ...] = ()
    months: tuple[int, ...] = ()
    weekdays: tuple[int, ...] = ()
    step: str = "multiples"
    day_match: str = "or"
    day_starred: bool = True
    weekday_starred: bool = True
    ignored: str | None = None
    masks: DayMasks = field(default_factory=DayMasks, compare=False, repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def interval(self) -> bool:
        """Whether the minute or the hour field begins with ``*``: such a job follows the clock through DST."""
        fields = self.text.split(" ")
        return bool(self.text) and (fields[0][0] == "*" or fields[1][0] == "*")

    @cached_property
    def minutes_of_day(self) -> tuple[int, ...]:
        """Every minute of a matching day, 0 to 1439, ascending."""
        return tuple(hour * 60 + minute for hour in self.hours for minute in self.minutes)

    def never(self) -> bool:
        """Whether no date of the calendar matches, decided over all fourteen kinds of year, not by giving up."""
        return self.masks.never

    def in_words(self) -> str:
        """Say it in English, for a list or a log."""
        from scheduler.words import in_words  # noqa: PLC0415 - words are needed by people only

        return in_words(self)


def parse(text: str, *, step: str = "multiples", day_match: str = "or") -> CronExpression:
    """Parse an expression of the dialect; raises CronError, and nothing else, on whatever it is not.

    ``""`` is an expression that never fires. ``step`` says what ``*/n`` means in day of month and month; ``day_match``
    what two restricted day fields mean.
    """
    _check_switch("step", step, STEPS)
    _check_switch("day_match", day_match, DAY_MATCHES)
    if len(text) > MAX_TEXT:
        raise CronError(f"the expression has {len(text):,} characters, at most {MAX_TEXT:,} are read")
    parts = _split(text)
    if not parts:
        return CronExpression(text="", step=step, day_match=day_match)
    if parts[0][0].startswith("@"):
        parts = _split(_alias(parts))
    if len(parts) != len(FIELDS):
        raise CronError(_wrong_count(len(parts)))
    values = [_values(spec, token, column, step) for spec, (token, column) in zip(FIELDS, parts, strict=True)]
    tokens = [token.lower() for token, _ in parts]
    return _build(tokens, values, step, day_match)


def _build(tokens: list[str], values: list[tuple[int, ...]], step: str, day_match: str) -> CronExpression:
    minutes, hours, days, months, weekdays = values
    day_starred, weekday_starred = tokens[2] == "*", tokens[4] == "*"
    ignored = None
    if day_match == "more-often" and not day_starred and not weekday_starred:
        by_day = dates_in_400_years(days=days, months=months)
        by_weekday = dates_in_400_years(weekdays=weekdays, months=months)
        ignored = "day of week" if by_day > by_weekday else "day of month"
    use_days = None if day_starred or ignored == "day of month" else days
    use_weekdays = None if weekday_starred or ignored == "day of week" else weekdays
    return CronExpression(
        text=" ".join(tokens),
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=weekdays,
        step=step,
        day_match=day_match,
        day_starred=day_starred,
        weekday_starred=weekday_starred,
        ignored=ignored,
        masks=DayMasks(days=use_days, months=months, weekdays=use_weekdays, both=day_match == "and"),
    )


def _check_switch(key: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise CronError(f"{key} = {value!r}: use one of {', '.join(legal)}", token=str(value)[:60])


def _split(text: str) -> list[tuple[str, int]]:
    """Split on runs of spaces and tabs into (token, column)."""
    parts: list[tuple[str, int]] = []
    start = None
    for index, char in enumerate(text):
        if char in " \t":
            if start is not None:
                parts.append((text[start:index], start + 1))
                start = None
        elif start is None:
            start = index
    if start is not None:
        parts.append((text[start:], start + 1))
    return parts


def _alias(parts: list[tuple[str, int]]) -> str:
    token, column = parts[0]
    if len(parts) > 1:
        raise CronError(f"{_show(token)} stands alone: nothing may follow it", token=token, column=parts[1][1])
    if token in ALIASES:
        return ALIASES[token]
    if token.lower() == "@reboot":
        raise CronError("@reboot is no schedule: a daemon's restart is not a time", token=token, column=column)
    near = difflib.get_close_matches(token.lower()[:40], ALIASES, n=1, cutoff=0.0)[0]
    raise CronError(f"{_show(token)} is no alias; did you mean {near}?", token=token[:60], column=column)


def _wrong_count(count: int) -> str:
    names = ", ".join(spec.name for spec in FIELDS)
    hint = ""
    if count == len(FIELDS) + 1:
        hint = " (there is no field for seconds or years)"
    elif count < len(FIELDS):
        hint = " (fill up with *)"
    return f"{count} field{'s' if count != 1 else ''} instead of 5: {names}{hint}"


def _values(spec: _Field, token: str, column: int, step: str) -> tuple[int, ...]:
    if token == "*":  # noqa: S105 - a word of the expression
        return tuple(range(spec.low, 7 if spec.high == 7 else spec.high + 1))  # noqa: PLR2004 - Sunday twice
    found: set[int] = set()
    position = column
    for item in token.split(","):
        found.update(_item(spec, item, position, step, in_list="," in token))
        position += len(item) + 1
    if spec.high == 7 and 7 in found:  # noqa: PLR2004 - 7 is Sunday too
        found.discard(7)
        found.add(0)
    return tuple(sorted(found))


def _item(spec: _Field, item: str, column: int, step: str, *, in_list: bool) -> range:
    def fail(why: str) -> CronError:
        return CronError(f"{spec.name}: {_show(item)}: {why}", field=spec.name, token=item[:60], column=column)

    if not item:
        raise fail("an empty item in a list; remove the comma that is too many")
    base, slash, step_text = item.partition("/")
    every = 1
    if slash:
        every = _number(step_text, fail, "a step is a whole number after the slash, such as */5")
        if not 1 <= every <= spec.max_step:
            raise fail(f"the step must be from 1 to {spec.max_step}")
    if base == "*":
        if not slash:
            raise fail("* stands alone or with a step (*/n), not in a list; write * only" if in_list else "write *")
        start = spec.low if step == "offset" else -(-spec.low // every) * every
        return range(start, _top(spec) + 1, every)
    low_text, dash, high_text = base.partition("-")
    low = _value(spec, low_text, fail)
    if dash:
        return _range(spec, low, high_text, every, fail)
    if slash:
        raise fail(f"a step needs a range or *: write {low_text}-{_top(spec)}/{step_text}")
    return range(low, low + 1)


def _range(spec: _Field, low: int, high_text: str, every: int, fail: _Fail) -> range:
    high = _value(spec, high_text, fail)
    if spec.high == 7 and high_text.lower() == "sun":  # noqa: PLR2004 - sun may end a range
        high = 7
    if low > high:
        raise fail(f"{low} is after {high}; " + _unwrapped(spec, low, high, f"/{every}" if every > 1 else ""))
    return range(low, high + 1, every)


def _top(spec: _Field) -> int:
    return 6 if spec.high == 7 else spec.high  # noqa: PLR2004 - day of week


def _unwrapped(spec: _Field, low: int, high: int, tail: str) -> str:
    top = _top(spec)
    if spec.high == 7 and high == 0:  # noqa: PLR2004 - day of week, up to Sunday
        return f"write {low}-7{tail}"
    first = f"{low}-{top}{tail}" if low < top else str(low)
    second = f"{spec.low}-{high}{tail}" if high > spec.low else str(spec.low)
    return f"write {first},{second}"


def _value(spec: _Field, text: str, fail: _Fail) -> int:
    lowered = text.lower()
    if lowered in spec.names:
        return spec.names.index(lowered) + spec.name_base
    value = _number(text, fail, _legal(spec, text))
    if not spec.low <= value <= spec.high:
        raise fail(f"{value} is not from {spec.low} to {spec.high}" if value < 10**6 else _legal(spec, text))
    return value


def _number(text: str, fail: _Fail, why: str) -> int:
    if not text or len(text) > 9 or not _DIGITS.issuperset(text):  # noqa: PLR2004 - longer is no field's value
        raise fail(why)
    return int(text)


def _legal(spec: _Field, text: str) -> str:
    """Say what the field takes, with the nearest legal form."""
    lowered = text.lower()[:20]
    if spec.names and lowered.isalpha():
        near = next((name for name in spec.names if lowered.startswith(name)), None)
        near = near or next(iter(difflib.get_close_matches(lowered, spec.names, n=1, cutoff=0.5)), None)
        if near:
            return f"did you mean {near}?"
    for other in FIELDS:
        if lowered in other.names:
            return f"{lowered} belongs in the {other.name} field"
    if set(lowered) & set("?lw#"):
        return f"?, L, W and # are not part of this dialect; use * or numbers from {spec.low} to {spec.high}"
    names = f" or {spec.names[0]} to {spec.names[-1]}" if spec.names else ""
    return f"use a number from {spec.low} to {spec.high}{names}"


def _show(token: str) -> str:
    """Quote a token for a message: short, printable, on one line."""
    shown = token if len(token) <= 40 else token[:37] + "..."  # noqa: PLR2004 - fits a line
    return repr(shown) if shown.isprintable() else ascii(shown)
