"""The TD cron dialect: text to a frozen expression with expanded sets. Pure; docs/dialect.md has the rules.

Where Treasure Data's page, its engines and other crons disagree, that page says which rule holds here.
"""

from dataclasses import dataclass, field
from functools import lru_cache, partial

from scheduler.schedules.cron_fields import FIELDS, SHOWN, CronError, closest, expand, show
from scheduler.schedules.days import DayMasks, dates_in_400_years

__all__ = ["ALIASES", "DAY_MATCHES", "MAX_TEXT", "STEPS", "CronDates", "CronError", "CronExpression", "parse"]

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


@dataclass(frozen=True, kw_only=True, slots=True)
class CronDates:
    """The part of an expression that says on which dates it fires; expressions that write it alike share it."""

    days: tuple[int, ...] = ()
    months: tuple[int, ...] = ()
    weekdays: tuple[int, ...] = ()
    ignored: str | None = None
    masks: DayMasks


_NO_DATES = CronDates(masks=DayMasks())


@dataclass(frozen=True, kw_only=True, slots=True)
class CronExpression:
    """A parsed expression. ``text`` is normalised (single spaces, lower case); empty: no schedule, it never fires.

    The five tuples are sorted and hold every value; Sunday is 0. ``interval`` says that the minute or the hour field
    begins with ``*``: such a job follows the clock through DST. Text and switches decide equality: all else follows.
    """

    text: str
    minutes: tuple[int, ...] = field(default=(), compare=False)
    hours: tuple[int, ...] = field(default=(), compare=False)
    interval: bool = field(default=False, compare=False)
    step: str = "multiples"
    day_match: str = "or"
    dates: CronDates = field(default=_NO_DATES, compare=False, repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def days(self) -> tuple[int, ...]:
        """The days of the month, 1 to 31."""
        return self.dates.days

    @property
    def months(self) -> tuple[int, ...]:
        """The months, 1 to 12."""
        return self.dates.months

    @property
    def weekdays(self) -> tuple[int, ...]:
        """The days of the week, 0 (Sunday) to 6."""
        return self.dates.weekdays

    @property
    def day_starred(self) -> bool:
        """Whether the day-of-month field is a literal ``*``."""
        return self.text.split(" ")[2:3] == ["*"]

    @property
    def weekday_starred(self) -> bool:
        """Whether the day-of-week field is a literal ``*``."""
        return self.text.split(" ")[4:5] == ["*"]

    @property
    def ignored(self) -> str | None:
        """The day field that is not followed: with ``more-often``, the one with fewer dates in 400 years."""
        return self.dates.ignored

    @property
    def masks(self) -> DayMasks:
        """The dates on which it fires."""
        return self.dates.masks

    def never(self) -> bool:
        """Whether no date of the calendar matches, decided over all kinds of year, not by giving up."""
        return self.dates.masks.never


def parse(text: str, *, step: str = "multiples", day_match: str = "or") -> CronExpression:
    """Parse an expression of the dialect; raises CronError, and nothing else, on whatever it is not.

    ``""`` is an expression that never fires. ``step`` says what ``*/n`` means in day of month and month; ``day_match``
    what two restricted day fields mean.
    """
    if step not in STEPS or day_match not in DAY_MATCHES:
        _refuse_switch(step, day_match)
    if len(text) > MAX_TEXT:
        raise CronError(f"the expression has {len(text):,} characters, at most {MAX_TEXT:,} are read")
    tokens = _split(text)
    if len(tokens) != len(FIELDS):
        if not tokens:
            return CronExpression(text="", step=step, day_match=day_match)
        if tokens[0][0] != "@":
            raise _wrong_count(text, tokens)
        tokens = _split(_alias(text, tokens))
    elif tokens[0][0] == "@":
        _alias(text, tokens)
    minute, hour, day, month, weekday = tokens
    try:
        minutes, hours = expand(0, minute, step), expand(1, hour, step)
        dates = _dates(day, month, weekday, step, day_match)
    except CronError as error:
        raise _placed(error, text) from None
    return CronExpression(
        text=" ".join(tokens).lower(),
        minutes=minutes,
        hours=hours,
        interval=minute[0] == "*" or hour[0] == "*",
        step=step,
        day_match=day_match,
        dates=dates,
    )


def _split(text: str) -> list[str]:
    """Split on runs of spaces and tabs, and on no other blank that Unicode knows."""
    tokens = text.replace("\t", " ").split(" ")
    return [token for token in tokens if token] if "" in tokens else tokens


@lru_cache(maxsize=16_384)
def _dates(day: str, month: str, weekday: str, step: str, day_match: str) -> CronDates:
    days, months, weekdays = expand(2, day, step), expand(3, month, step), expand(4, weekday, step)
    ignored = None
    if day_match == "more-often" and day != "*" and weekday != "*":
        by_day = dates_in_400_years(days=days, months=months)
        by_weekday = dates_in_400_years(weekdays=weekdays, months=months)
        ignored = "day of week" if by_day > by_weekday else "day of month"
    masks = DayMasks(
        days=None if day == "*" or ignored == "day of month" else days,
        months=months,
        weekdays=None if weekday == "*" or ignored == "day of week" else weekdays,
        both=day_match == "and",
    )
    return CronDates(days=days, months=months, weekdays=weekdays, ignored=ignored, masks=masks)


def _refuse_switch(step: str, day_match: str) -> None:
    key, value, legal = ("step", step, STEPS) if step not in STEPS else ("day_match", day_match, DAY_MATCHES)
    raise CronError(f"{key} = {show(str(value))}: use one of {', '.join(legal)}", token=str(value)[:60])


def _fits(text: str) -> bool:
    """Whether a text is an expression or an alias; without a word of what is wrong with another one."""
    tokens = _split(text)
    if len(tokens) != len(FIELDS):
        return len(tokens) == 1 and tokens[0] in ALIASES
    return all(_fits_in(index, token) for index, token in enumerate(tokens))


def _alias(text: str, tokens: list[str]) -> str:
    token = tokens[0]
    if len(tokens) == 1 and token in ALIASES:
        return ALIASES[token]
    from scheduler.schedules import cron_advice  # noqa: PLC0415 - only when something is wrong

    if (advice := cron_advice.whole(text, tokens, _fits)) is not None:
        raise CronError(f"unknown alias {show(' '.join(tokens))}: {advice}", token=token[:60], column=_column(text, 0))
    if len(tokens) > 1:
        raise CronError(f"{show(token)} stands alone: nothing may follow it", token=token[:60], column=_column(text, 1))
    near = closest(token.lower(), tuple(ALIASES), 0.0)
    raise CronError(f"unknown alias {show(token)}; did you mean {near}?", token=token[:60], column=_column(text, 0))


def _wrong_count(text: str, tokens: list[str]) -> CronError:
    other = next((number for number, char in enumerate(text) if char.isspace() and char not in " \t"), None)
    if other is not None:
        why = f"{text[other]!a} does not separate fields: only spaces and tabs do"
        return CronError(why, token=text[other], column=other + 1)
    from scheduler.schedules import cron_advice  # noqa: PLC0415 - only when something is wrong

    if (zone := cron_advice.zone(tokens)) is not None:
        token = tokens[zone[0]]
        return CronError(f"{show(token)}: {zone[1]}", token=token[:60], column=_column(text, zone[0]))
    names = ", ".join(rule.name for rule in FIELDS)
    count, wanted = len(tokens), len(FIELDS)
    advice = cron_advice.whole(text, tokens, _fits)
    if advice is None:
        advice = "fill up with *" if count < wanted else "there is no field for seconds, years or a command"
    message = f"{count} field{'s' if count != 1 else ''} instead of {wanted}: {names}; {advice}"
    if count < wanted:
        return CronError(message)
    return CronError(message, token=tokens[wanted][:60], column=_column(text, wanted))


def _placed(error: CronError, text: str) -> CronError:
    """Say where in the whole text the fault of a field is, and what to write there, if that can be told."""
    from scheduler.schedules import cron_advice  # noqa: PLC0415 - only when something is wrong

    index = [rule.name for rule in FIELDS].index(str(error.field))
    column = _column(text, index) + (error.column or 1) - 1
    rule, token, message = FIELDS[index], str(error.token), error.message
    if (advice := cron_advice.quotes(text, (), _fits)) is not None:
        message = f"{show(text)}: {advice}"
    elif len(token) < SHOWN and (advice := cron_advice.item(rule, token, partial(_fits_in, index))) is not None:
        message = f"{error.field}: {show(token)}: {advice}"
    return CronError(message, field=error.field, token=error.token, column=column)


def _fits_in(index: int, token: str) -> bool:
    try:
        return bool(expand(index, token, "multiples"))
    except CronError:
        return False


def _column(text: str, index: int) -> int:
    """Return the column, from 1, where the token of that index begins."""
    blank, seen = True, -1
    for column, char in enumerate(text, 1):
        if blank and char not in " \t":
            seen += 1
            if seen == index:
                return column
        blank = char in " \t"
    return 1
