"""Expressions in English."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cron_oracle import random_expression

from scheduler.schedules.expression import parse
from scheduler.schedules.plain_words import in_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 3 * * mon-fri", "at 03:00 from Monday to Friday"),
        ("* * * * *", "every minute every day"),
        ("*/5 * * * *", "every 5 minutes every day"),
        ("*/15 9-17 * * 1-5", "every 15 minutes between 09:00 and 17:59 from Monday to Friday"),
        ("* 3 * * *", "every minute between 03:00 and 03:59 every day"),
        ("*/10 */3 * * *", "every 10 minutes of every 3rd hour (00, 03, …) every day"),
        ("0 * * * *", "at minute 0 of every hour every day"),
        ("5,35 8-18 * * sat,sun", "at minutes 5 and 35 of the hours 08 to 18 on Sunday and Saturday"),
        ("*/7 9 * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of the hour 09 every day"),
        ("30 */2 1 * *", "at minute 30 of every 2nd hour (00, 02, …) on the 1st of the month"),
        ("0 */5 * * *", "at 00:00, 05:00, 10:00, 15:00 and 20:00 every day"),
        ("0 0 1 * 1", "at 00:00 on the 1st of the month and on Monday"),
        ("0 0 11-13,21-23 * *", "at 00:00 on the 11th to 13th and 21st to 23rd of the month"),
        ("0 9,17 * jan-mar *", "at 09:00 and 17:00 every day in January to March"),
        ("0 0 1 1 0-6", "at 00:00 on the 1st and on every day of the week in January"),
        ("0 0 30 2 *", "never (at 00:00 on the 30th in February: there is no such date)"),
        ("", "no schedule"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert in_words(parse(text)) == words


@pytest.mark.parametrize(
    ("day_match", "words"),
    [
        ("or", "at 00:00 on the 1st of the month and on Monday"),
        ("and", "at 00:00 on the 1st of the month if also on Monday"),
        ("more-often", "at 00:00 on Monday"),
    ],
)
def test_words_tell_the_rule_for_the_day_fields(day_match: str, words: str) -> None:
    assert in_words(parse("0 0 1 * 1", day_match=day_match)) == words


@given(st.integers(min_value=0))
def test_any_expression_has_one_line_of_words(seed: int) -> None:
    words = in_words(parse(random_expression(random.Random(seed))))
    assert words
    assert words.isprintable()


@given(st.integers(min_value=0), st.integers(min_value=0))
def test_expressions_with_other_times_of_day_have_other_words(one: int, two: int) -> None:
    first, second = parse(random_expression(random.Random(one))), parse(random_expression(random.Random(two)))
    if (first.minutes, first.hours) != (second.minutes, second.hours):
        assert in_words(first) != in_words(second)
