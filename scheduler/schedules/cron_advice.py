"""What to write instead of text that is no expression here: other crons' forms, and slips of the keyboard. Pure.

Asked only once something is wrong. Each function returns None where it knows nothing better than the general message.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence

from scheduler.schedules.cron_fields import DAY_OF_WEEK, FIELDS, FieldRule

Parses = Callable[[str], bool]
"""Whether a text is an expression, or a token of a field."""

ANY = "?"
OTHER_ALIASES = {
    "@every_minute": "* * * * *",
    "@minutely": "* * * * *",
    "@every_hour": "@hourly",
    "@every_day": "@daily",
    "@every_week": "@weekly",
    "@every_month": "@monthly",
    "@every_year": "@yearly",
    "@noon": "0 12 * * *",
    "@weekdays": "0 0 * * mon-fri",
    "@weekends": "0 0 * * sat,sun",
    "@quarterly": "0 0 1 1,4,7,10 *",
    "@semiannually": "0 0 1 1,7 *",
}
"""What other schedulers call by an alias."""
_ZONE_BEFORE = re.compile(r"(?:CRON_TZ|TZ)=:?[\"']?([A-Za-z0-9_+/-]{0,60})[\"']?", re.IGNORECASE)
_ZONE_AFTER = re.compile(r"[A-Z][A-Za-z]+(?:/[A-Z][A-Za-z_+-]*)+|UTC|GMT")
_EVERY = re.compile(r"(?:@every\s+|every\s+|rate\()?(\d{1,3})\s*(m|h|min|minutes?|hours?)\)?", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,2}):(\d\d)")
_YEAR = re.compile(r"\*|\d{4}([-,/]\d{1,4})*")
_AWS = re.compile(r"cron\((.*)\)", re.IGNORECASE)
_LAST_WEEKDAY = re.compile(r"([0-7]|[a-z]{3})l")
_LAST_DAY = re.compile(r"l(-\d+)?|lw")
_WORKDAY = re.compile(r"(\d{1,2})w")
_RANDOM = re.compile(r"(\d+)~(\d+)")
_TWELVE_HOURS = re.compile(r"(1[0-2]|0?[1-9])([ap])m")
_HASH = re.compile(r"[hr](?:\(\d+-\d+\))?(?:/(\d{1,2}))?")
_NTH = re.compile(r"([0-7]|[a-z]{3})#([1-5])")
_COMMENT = re.compile(r"(?:^|[ \t])#+")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_SLIPS = str.maketrans({";": ",", "\\": None, "'": None, '"': None, "`": None, "+": None})
_STEPS = {"minute": 15, "hour": 6, "day of month": 5, "month": 3, "day of week": 2}
"""A step for an example."""
_WEEK = 7
_MONTH = 31


def whole(text: str, tokens: Sequence[str], parses: Parses) -> str | None:
    """Say what to write instead of a text that has not five fields, or is an unknown alias."""
    for advise in (quotes, _interval, _of_other_crons, _more_fields, _fewer_fields):
        if (said := advise(text, tokens, parses)) is not None:
            return said
    return None


def zone(tokens: Sequence[str]) -> tuple[int, str] | None:
    """Return which token is a time zone, and where that is to be written; None if none is."""
    if (found := _ZONE_BEFORE.fullmatch(tokens[0])) is not None:
        index, name = 0, found[1] or "America/New_York"
    elif len(tokens) == len(FIELDS) + 1 and _ZONE_AFTER.fullmatch(tokens[-1]) is not None:
        index, name = len(FIELDS), tokens[-1]
    else:
        return None
    return (
        index,
        f'a time zone has its own key: write timezone = "{name}" beside cron (--timezone on a command line)',
    )


def quotes(text: str, _tokens: Sequence[str], parses: Parses) -> str | None:
    """Advise on quotes around an expression, and a comment."""
    inner = text.strip(" \t\"'`")
    if inner != text.strip(" \t") and parses(inner):
        return f"remove the quotes inside: write {inner}"
    before, *after = _COMMENT.split(text, maxsplit=1)
    written = before.strip() or "".join(after).strip()
    if not after:
        return None
    return f"remove the comment: write {written}" if written and parses(written) else None


def _interval(text: str, _tokens: Sequence[str], parses: Parses) -> str | None:
    """Advise on ``@every 5m``, ``rate(5 minutes)`` and ``5m``."""
    stripped = text.strip()
    found = _EVERY.fullmatch(stripped)
    if found is not None:
        number, is_minutes = int(found[1]), found[2].lower().startswith("m")
        step = "*" if number == 1 else f"*/{number}"
        written = f"{step} * * * *" if is_minutes else f"0 {step} * * *"
        if number and (60 if is_minutes else 24) % number == 0 and parses(written):
            return f"write {written}"
    if found is not None or stripped.lower().startswith(("@every ", "rate(")):
        return "an expression names times of the day, not a distance: write them, such as */20 * * * * or 0 */8 * * *"
    return None


def _of_other_crons(text: str, tokens: Sequence[str], parses: Parses) -> str | None:
    word = tokens[0].lower()
    if word == "@reboot":
        return "a daemon's restart is not a time; schedctl run NAME runs a job by hand"
    if len(tokens) == 1 and (known := OTHER_ALIASES.get(word)) is not None:
        return f"write {known}"
    if len(tokens) == 1 and parses(f"@{word}"):
        return f"write @{word}"
    inner = _AWS.fullmatch(text.strip())
    if inner is not None and inner[1].split():
        return _more_fields(inner[1], inner[1].split(), parses)
    if len(tokens) == 1 and (time := _TIME.fullmatch(word)) is not None:
        written = f"{int(time[2])} {int(time[1])} * * *"
        return f"for that time of each day write {written}" if parses(written) else None
    return None


def _more_fields(_text: str, tokens: Sequence[str], parses: Parses) -> str | None:
    """Advise on a line of Quartz, Spring or EventBridge, which has seconds before the five fields, or years after."""
    fives: dict[str, str] = {}
    if len(tokens) == len(FIELDS) + 2:
        fives["without seconds and years"] = _five(tokens[1:6])
    elif len(tokens) == len(FIELDS) + 1:
        has_mark = {number for number, token in enumerate(tokens) if token == ANY}
        if _YEAR.fullmatch(tokens[-1]) and not has_mark & {3, 5}:
            fives["without its last field, the years,"] = _five(tokens[:5])
        if not has_mark & {2, 4} and not (tokens[-1].isdecimal() and _YEAR.fullmatch(tokens[-1])):
            fives["without its first field, the seconds,"] = _five(tokens[1:])
    fitting = {what: five for what, five in fives.items() if parses(five)}
    if not fitting and len(tokens) == len(FIELDS) + 2:
        return "there is no field for seconds or years: leave out the first and the last"
    if not fitting:
        return None
    written = next(iter(fitting.values()))
    if len(set(fitting.values())) == 1:
        said = f"there is no field for seconds or years: write {written}"
    else:
        said = "; ".join(f"{what} it is {five}" for what, five in fitting.items())
    if any(char.isdigit() for char in written.split(" ")[4].partition("/")[0]):
        said += "; name the days of the week: here 0 and 7 are Sunday, in Quartz 1 is"
    return said


def _five(tokens: Sequence[str]) -> str:
    """Return five fields of Quartz as this dialect has them: ``?`` is any, ``5/10`` goes on to the field's end."""
    written: list[str] = []
    for rule, token in zip(FIELDS, tokens, strict=True):
        begin, slash, step = token.partition("/")
        if token == ANY or (slash and step == "1" and begin == str(rule.low)):
            written.append("*")
        elif slash and begin == "0" == str(rule.low):
            written.append(f"*/{step}")
        elif slash and begin.isdecimal():
            written.append(f"{begin}-{rule.last}/{step}")
        else:
            written.append(token)
    return " ".join(written)


def _fewer_fields(_text: str, tokens: Sequence[str], parses: Parses) -> str | None:
    filled = " ".join([*tokens, *"*" * (len(FIELDS) - len(tokens))])
    return f"fill up with *: {filled}" if len(tokens) < len(FIELDS) and parses(filled) else None


def item(rule: FieldRule, text: str, parses: Parses) -> str | None:
    """Say what to write instead of an item of a field."""
    for advise in (_any, _nth_weekday, _last_day, _chosen, _hour, _slip, _lacking, _after_last):
        if (said := advise(rule, text.lower(), parses)) is not None:
            return said
    return None


def _any(_rule: FieldRule, word: str, _parses: Parses) -> str | None:
    return "write *" if word == ANY else None


def _nth_weekday(rule: FieldRule, word: str, _parses: Parses) -> str | None:
    if rule is not DAY_OF_WEEK:
        return None
    if (found := _NTH.fullmatch(word)) is not None:
        last = int(found[2]) * _WEEK
        days = f"{last - _WEEK + 1}-{min(last, _MONTH)}"
        return f'# is unknown here: write {days} as day of month, {found[1]} here, and day_match = "and" beside cron'
    if (found := _LAST_WEEKDAY.fullmatch(word)) is not None:
        return f"L is unknown here: write {found[1]}, and let the query look for the last by TD_SCHEDULED_TIME()"
    return None


def _last_day(rule: FieldRule, word: str, _parses: Parses) -> str | None:
    if rule.high != _MONTH:
        return None
    if _LAST_DAY.fullmatch(word) is not None:
        return (
            "L is unknown here: write 1 for the day after the month's last, 28 for one that each month has, or 28-31 "
            "and let the query look for the last by TD_SCHEDULED_TIME()"
        )
    found = _WORKDAY.fullmatch(word)
    return f"W is unknown here: write {found[1]}" if found is not None else None


def _chosen(rule: FieldRule, word: str, parses: Parses) -> str | None:
    """Advise on Jenkins's ``H`` and cronie's ``0~30``."""
    if (found := _HASH.fullmatch(word)) is not None:
        written = f"*/{found[1]}" if found[1] else str(min(rule.low + 17, rule.last))
        return f"H and R, values that others choose, are unknown here: write one, such as {written}"
    found = _RANDOM.fullmatch(word)
    is_value = found is not None and parses(found[1])
    return f"random values are unknown here: write one, such as {found[1]}" if found is not None and is_value else None


def _hour(rule: FieldRule, word: str, _parses: Parses) -> str | None:
    found = _TWELVE_HOURS.fullmatch(word)
    if rule.name != "hour" or found is None:
        return None
    return f"write {int(found[1]) % 12 + (12 if found[2] == 'p' else 0)}"


def _slip(rule: FieldRule, word: str, parses: Parses) -> str | None:
    """Advise on a wrong sign: other digits and dashes, quotes, a leading plus or minus."""
    plain = unicodedata.normalize("NFKC", word).translate(_DASHES).translate(_SLIPS).replace("..", "-")
    if plain != word and parses(plain):
        return f"write {plain}"
    value = plain.lstrip("-")
    if value == plain or not parses(value):
        return None
    return (
        f"write {value}"
        if value.startswith("*")
        else f"a range has a first value: write {rule.low}-{value}, or {value}"
    )


def _lacking(rule: FieldRule, word: str, parses: Parses) -> str | None:
    """Advise on a range or a step that lacks a part."""
    begin, slash, step = word.partition("/")
    low, dash, high = begin.partition("-")
    if dash and high in ("", "*") and low != "*" and parses(written := f"{low}-{rule.last}{slash}{step}"):
        return f"a range has a last value: write {written}"
    if dash and low == "*" and parses(written := f"{rule.low}-{high}{slash}{step}"):
        return f"a range has a first value: write {written}"
    if slash and not step and parses(written := f"{begin}/{_STEPS[rule.name]}"):
        return f"a step is a number: write {written}, or another from 1 to {rule.max_step}"
    return None


def _after_last(rule: FieldRule, word: str, _parses: Parses) -> str | None:
    after = {"minute": "the next full hour is 0", "hour": "midnight is 0"}.get(rule.name)
    if after is None or word != str(rule.last + 1):
        return None
    return f"{word} is not from {rule.low} to {rule.high}; {after}"
