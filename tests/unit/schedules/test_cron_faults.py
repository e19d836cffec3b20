"""What is refused, in which words, and that whatever it is, it is refused quickly."""

import string
import sys
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.schedules.cron_fields import FIELDS
from scheduler.schedules.expression import ALIASES, CronError, CronExpression, parse

REBOOT = "unknown alias '@reboot': a daemon's restart is not a time; schedctl run NAME runs a job by hand"
SIXTH = "there is no field for seconds, years or a command"
FIVE = "minute, hour, day of month, month, day of week"
ONLY = "only the digits 0 to 9, the letters a to z and * , - / are read"
LETTERS = "?, L, W and # are not part of this dialect; use a number from 1 to 31 or *"


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("0 22-2 * * *", "hour: '22-2': 22 is after 2; write 22-23,0-2", 3),
        ("0 22-2/2 * * *", "hour: '22-2/2': 22 is after 2; write 22-23/2,0-2/2", 3),
        ("0 0 * * 5-0", "day of week: '5-0': 5 is after 0; write 5-7", 9),
        ("0 0 * nov-feb *", "month: 'nov-feb': 11 is after 2; write 11-12,1-2", 7),
        ("5/10 * * * *", "minute: '5/10': a step needs a range or *: write 5-59/10", 1),
        ("*,5 * * * *", "minute: '*': * stands alone or with a step (*/n), not in a list; write * only", 1),
        ("1,,2 * * * *", "minute: '': an empty item in a list; remove the comma that is too many", 3),
        ("1, * * * *", "minute: '': an empty item in a list; remove the comma that is too many", 3),
        ("*/0 * * * *", "minute: '*/0': the step must be from 1 to 59", 1),
        ("*/60 * * * *", "minute: '*/60': the step must be from 1 to 59; for 0 alone write 0", 1),
        ("* */24 * * *", "hour: '*/24': the step must be from 1 to 23; for 0 alone write 0", 3),
        ("0 0 * * */7", "day of week: '*/7': the step must be from 1 to 6; for 0 alone write 0", 9),
        ("60 * * * *", "minute: '60': 60 is not from 0 to 59; the next full hour is 0", 1),
        ("0 24 * * *", "hour: '24': 24 is not from 0 to 23; midnight is 0", 3),
        ("0 0 0 * *", "day of month: '0': 0 is not from 1 to 31", 5),
        ("0 0 * 13 *", "month: '13': 13 is not from 1 to 12", 7),
        ("0 0 * * 8", "day of week: '8': 8 is not from 0 to 7", 9),
        ("0 jan-feb * * *", "hour: 'jan-feb': jan belongs in the month field", 3),
        ("0 0 * * monday", "day of week: 'monday': did you mean mon?", 9),
        ("-5 * * * *", "minute: '-5': a range has a first value: write 0-5, or 5", 1),
        ("+1 * * * *", "minute: '+1': write 1", 1),
        ("٣ * * * *", f"minute: '٣': {ONLY}; use a number from 0 to 59", 1),
        ("\x00 * * * *", f"minute: '\\x00': {ONLY}; use a number from 0 to 59", 1),
        ("0 0 *", f"3 fields instead of 5: {FIVE}; fill up with *: 0 0 * * *", None),
        ("0 x", f"2 fields instead of 5: {FIVE}; fill up with *", None),
        ("0\u00a00 * * *", "'\\xa0' does not separate fields: only spaces and tabs do", 2),
        ("0 0 * * * /bin/true", f"6 fields instead of 5: {FIVE}; {SIXTH}", 11),
        ("0 0 * * 1-5/2,6/2", "day of week: '6/2': a step needs a range or *: write 6-6/2", 15),
        ("0 0 * * 7-2", "day of week: '7-2': 7 is after 2; write 7,0-2", 9),
        ("0 0 w?l * *", f"day of month: 'w?l': {LETTERS}", 5),
        ("0 0 * january *", "month: 'january': did you mean jan?", 7),
        ("0 0 * * thr", "day of week: 'thr': did you mean thu?", 9),
        ("0 0 * mon *", "month: 'mon': mon belongs in the day of week field", 7),
        ("0 0 */-5 * *", "day of month: '*/-5': the step must be from 1 to 31", 5),
        ("0 0 */x * *", "day of month: '*/x': the step must be from 1 to 31", 5),
        ("0 0 1-5/32 * *", "day of month: '1-5/32': the step must be from 1 to 31", 5),
        ("\t 0  0 1, * *", "day of month: '': an empty item in a list; remove the comma that is too many", 10),
        ("0 0 * * *\n", f"day of week: '*\\n': {ONLY}; use a number from 0 to 7 or sun to sat", 9),
        ("0\n0 * * *", "'\\n' does not separate fields: only spaces and tabs do", 2),
        ("0 0\xa0* * *", "'\\xa0' does not separate fields: only spaces and tabs do", 4),
        ("@daily 0 0 0 0", "'@daily' stands alone: nothing may follow it", 8),
        ("@reboot", REBOOT, 1),
        ("@Daily", "unknown alias '@Daily'; did you mean @daily?", 1),
        ("@daily 5", "'@daily' stands alone: nothing may follow it", 8),
    ],
)  # fmt: skip
def test_faults_name_field_token_column_and_legal_form(text: str, message: str, column: int | None) -> None:
    with pytest.raises(CronError) as caught:
        parse(text)
    assert (caught.value.message, caught.value.column) == (message, column)


def test_a_fault_names_the_field_and_the_token_apart_from_the_words() -> None:
    with pytest.raises(CronError) as caught:
        parse("0 3 1,32 * *")
    assert (caught.value.field, caught.value.token, caught.value.column) == ("day of month", "32", 7)


def test_a_fault_says_its_column_where_it_has_one() -> None:
    with pytest.raises(CronError, match=r"^hour: '24': 24 is not from 0 to 23; midnight is 0 \(column 3\)$"):
        parse("0 24 * * *")
    with pytest.raises(CronError, match=r"fill up with \*$"):
        parse("0 24 *")


def test_switches_are_checked() -> None:
    with pytest.raises(CronError, match="step = 'vixie': use one of multiples, offset"):
        parse("* * * * *", step="vixie")
    with pytest.raises(CronError, match="day_match = 'xor': use one of or, more-often, and"):
        parse("* * * * *", day_match="xor")


HOSTILE = {
    "a list of 5,000 items": ",".join(["1"] * 5_000) + " * * * *",
    "1 KB of commas": "," * 1_024,
    "a long list in the limit": ",".join(["1"] * 490) + " * * * *",
    "a long list of steps": ",".join(["*/1"] * 240) + " * * * *",
    "many ranges": ",".join(["0-59/1"] * 140) + " * * * *",
    "many blanks": " " * 990 + "*",
    "many fields": "* " * 490,
    "long numbers": "9" * 900 + " * * * *",
    "a long step": "*/" + "1" * 900 + " * * * *",
    "a long name": "0 0 * * " + "sun" * 300,
    "a long alias": "@" + "daily" * 190,
    "other digits": "\u0663\uff15\u0967 * * * *",
    "superscripts": "\u00b2 * * * *",
    "control characters": "\x00\x01\x1b[31m * * * *",
    "line ends": "0\n0\r0\u2028* *",
    "other blanks": "0\u00a00\u3000*\x0b*\x1c*",
    "a lone surrogate": "\ud800 * * * *",
    "letters that grow in lower case": "\u0130" * 900 + " * * * *",
}


def python_lines(call: Callable[[], object]) -> int:
    """Count the lines of Python that a call runs: a measure of its work that no busy machine can change."""
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> object:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_costs_little_and_its_fault_is_one_short_printable_line(text: str) -> None:
    """A thousand lines of Python take about 0.1 ms; the longest text that is read at all stays under ten thousand."""
    parsed_or_fault("x")  # so that what advises is loaded
    assert python_lines(lambda: parsed_or_fault(text)) < 10_000
    told = parsed_or_fault(text)
    assert isinstance(told, CronExpression) or (len(told) < 300 and told.isprintable())


def test_every_field_refuses_the_value_after_its_last_and_the_names_of_others() -> None:
    for index, rule in enumerate(FIELDS):
        for token in (str(rule.high + 1), "jan-feb" if rule.name != "month" else "sun-mon"):
            fields = ["*"] * 5
            fields[index] = token
            with pytest.raises(CronError) as caught:
                parse(" ".join(fields))
            assert caught.value.field == rule.name
            assert caught.value.column == 2 * index + 1


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_are_lower_case(alias: str) -> None:
    assert parse(f" {alias}\t").text == ALIASES[alias]
    with pytest.raises(CronError, match=f"did you mean {alias}"):
        parse(alias.upper())


def parsed_or_fault(text: str) -> CronExpression | str:
    try:
        return parse(text)
    except CronError as error:
        fault = error.message
    assert fault
    assert "\n" not in fault
    return fault


@given(st.text(max_size=60) | st.binary(max_size=1024).map(lambda raw: raw.decode("latin-1")))
@example("*/99999999999999999999 * * * *")
@example("9" * 900 + " * * * *")
def test_any_text_parses_or_raises_the_one_error(text: str) -> None:
    assert isinstance(parsed_or_fault(text), CronExpression | str)


@given(st.text(alphabet=string.digits + "*/-, jansuntue@", max_size=40))
def test_nearly_legal_text_too(text: str) -> None:
    cron = parsed_or_fault(text)
    assert isinstance(cron, str) or parse(cron.text) == cron
