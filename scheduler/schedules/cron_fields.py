"""One field of an expression: its legal tokens, the values they stand for, and the words for those that are not. Pure.

docs/dialect.md is the grammar for people; each of its rows is a test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
SHOWN = 40
"""More of a token than this is not shown in a message, which is to fit on a line."""
_MAX_DIGITS = 9
"""A longer number is no value of any field, whatever its size."""


class CronError(ValueError):
    """Text that is no expression of the dialect. ``column`` counts from 1 in the text as given; None: all of it.

    As text, it is the message and the column.
    """

    def __init__(
        self, message: str, *, field: str | None = None, token: str | None = None, column: int | None = None
    ) -> None:
        self.field = field
        self.token = token
        self.column = column
        self.message = message
        super().__init__(message if column is None else f"{message} (column {column})")


_Fail = Callable[[str], CronError]


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldRule:
    """A field: its name, its legal values, the last value that is written in advice, its largest step, its names.

    Names stand for the values from ``first_named`` on.
    """

    name: str
    low: int
    high: int
    last: int
    max_step: int
    names: tuple[str, ...] = ()
    first_named: int = 0


FIELDS = (
    FieldRule(name="minute", low=0, high=59, last=59, max_step=59),
    FieldRule(name="hour", low=0, high=23, last=23, max_step=23),
    FieldRule(name="day of month", low=1, high=31, last=31, max_step=31),
    FieldRule(name="month", low=1, high=12, last=12, max_step=12, names=MONTH_NAMES, first_named=1),
    FieldRule(name="day of week", low=0, high=7, last=6, max_step=6, names=DAY_NAMES),
)
DAY_OF_WEEK = FIELDS[4]
SUNDAY_AGAIN = 7


@lru_cache(maxsize=16_384)
def expand(index: int, token: str, step: str) -> tuple[int, ...]:
    """Return the values of a field's token, sorted, Sunday as 0; raises CronError with the column in the token.

    What it returns is shared by all expressions that write the field alike.
    """
    rule = FIELDS[index]
    if token == "*":  # noqa: S105 - a word of the expression
        return tuple(range(rule.low, rule.last + 1))
    found: set[int] = set()
    column = 1
    for item in token.split(","):
        found.update(_item(rule, item, column, step, in_list="," in token))
        column += len(item) + 1
    if rule is DAY_OF_WEEK and SUNDAY_AGAIN in found:
        found.discard(SUNDAY_AGAIN)
        found.add(0)
    return tuple(sorted(found))


def show(token: str) -> str:
    """Quote a token for a message: short, printable, on one line."""
    shown = token if len(token) <= SHOWN else token[: SHOWN - 3] + "..."
    return repr(shown) if shown.isprintable() else ascii(shown)


def closest(word: str, known: tuple[str, ...], cutoff: float) -> str | None:
    """Return the known word that is most like a given one."""
    from difflib import get_close_matches  # noqa: PLC0415 - 5 ms, and only when something is wrong

    return next(iter(get_close_matches(word[:SHOWN], known, n=1, cutoff=cutoff)), None)


def _item(rule: FieldRule, item: str, column: int, step: str, *, in_list: bool) -> range:
    value = _number(item)
    if value is not None and rule.low <= value <= rule.high:
        return range(value, value + 1)

    def fail(why: str) -> CronError:
        return CronError(f"{rule.name}: {show(item)}: {why}", field=rule.name, token=item[:SHOWN], column=column)

    if not item:
        raise fail("an empty item in a list; remove the comma that is too many")
    base, slash, step_text = item.partition("/")
    every = _number(step_text) if slash else 1
    if every is None or not 1 <= every <= rule.max_step:
        only = "; for 0 alone write 0" if base == "*" and every and not rule.low else ""  # what a larger step left
        raise fail(f"the step must be from 1 to {rule.max_step}{only}")
    if base == "*":
        if not slash:
            raise fail("* stands alone or with a step (*/n), not in a list; write * only" if in_list else "write *")
        start = rule.low if step == "offset" else -(-rule.low // every) * every
        return range(start, rule.last + 1, every)
    low_text, dash, high_text = base.partition("-")
    low = _value(rule, low_text, fail)
    if dash:
        return _range(rule, low, high_text, every, fail)
    if slash:
        raise fail(f"a step needs a range or *: write {low_text}-{max(low, rule.last)}/{step_text}")
    return range(low, low + 1)


def _range(rule: FieldRule, low: int, high_text: str, every: int, fail: _Fail) -> range:
    high = _value(rule, high_text, fail)
    if low and rule is DAY_OF_WEEK and high_text.lower() == DAY_NAMES[0]:
        high = SUNDAY_AGAIN  # fri-sun; sun-sun is one day
    if low > high:
        raise fail(f"{low} is after {high}; write " + _unwrapped(rule, low, high, f"/{every}" if every > 1 else ""))
    return range(low, high + 1, every)


def _unwrapped(rule: FieldRule, low: int, high: int, tail: str) -> str:
    """Write a range that runs over the field's end as a list that does not."""
    if rule is DAY_OF_WEEK and high == 0:
        return f"{low}-{SUNDAY_AGAIN}{tail}"
    first = f"{low}-{rule.last}{tail}" if low < rule.last else str(low)
    second = f"{rule.low}-{high}{tail}" if high > rule.low else str(rule.low)
    return f"{first},{second}"


def _value(rule: FieldRule, text: str, fail: _Fail) -> int:
    lowered = text.lower()
    if lowered in rule.names and text.isascii():
        return rule.names.index(lowered) + rule.first_named
    value = _number(text)
    if value is None:
        raise fail(_legal(rule, text))
    if not rule.low <= value <= rule.high:
        raise fail(f"{value} is not from {rule.low} to {rule.high}")
    return value


def _number(text: str) -> int | None:
    """Read a whole number in the digits 0 to 9, the only ones that a crontab ever had."""
    return int(text) if text.isdigit() and text.isascii() and len(text) <= _MAX_DIGITS else None


def _legal(rule: FieldRule, text: str) -> str:
    """Say what the field takes, with the nearest legal form."""
    lowered = text.lower()[:SHOWN]
    if not (lowered.isascii() and lowered.isprintable()):
        return f"only the digits 0 to 9, the letters a to z and * , - / are read; {_takes(rule)}"
    if rule.names and lowered.isalpha():
        near = next((name for name in rule.names if lowered.startswith(name)), None) or closest(
            lowered, rule.names, 0.5
        )
        if near:
            return f"did you mean {near}?"
    for other in FIELDS:
        if lowered in other.names:
            return f"{lowered} belongs in the {other.name} field"
    if set(lowered) & set("?lw#"):
        return f"?, L, W and # are not part of this dialect; {_takes(rule)} or *"
    return _takes(rule)


def _takes(rule: FieldRule) -> str:
    names = f" or {rule.names[0]} to {rule.names[-1]}" if rule.names else ""
    return f"use a number from {rule.low} to {rule.high}{names}"
