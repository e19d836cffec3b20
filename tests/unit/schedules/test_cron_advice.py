"""What is said of text that other crons take, or that a slip of the keyboard made: what to write instead.

docs/dialect.md has the words of many of them, and its tests hold them.
"""

import re
from datetime import UTC, datetime

import pytest

from scheduler.schedules.expression import CronError, parse
from scheduler.schedules.schedule import make_schedule

WRITTEN = {
    "@EVERY_MINUTE": "* * * * *",
    "@minutely": "* * * * *",
    "@noon": "0 12 * * *",
    "@every 1m": "* * * * *",
    "@every 1h": "0 * * * *",
    "@every 6h": "0 */6 * * *",
    "every 10 minutes": "*/10 * * * *",
    "30min": "*/30 * * * *",
    "hourly": "@hourly",
    "WEEKLY": "@weekly",
    "7:05": "5 7 * * *",
    "0 3 * *": "0 3 * * *",
    "'0 3 * * *'": "0 3 * * *",
    "# 0 3 * * *": "0 3 * * *",
    "0 0 0 1 1 ? 2027": "0 0 1 1 *",
    "0 0 12 1/1 * ? *": "0 12 * * *",
    "0 5/10 * * * ?": "5-59/10 * * * *",
    "* * * * * *": "* * * * *",
    "0 3 * * * 2027": "0 3 * * *",
    "cron(0 12 ? * MON-FRI *)": "0 12 * * MON-FRI",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_the_whole_expression_that_is_meant_is_written_out(text: str) -> None:
    with pytest.raises(CronError) as refused:
        parse(text)
    assert f" {WRITTEN[text]}" in refused.value.message
    parse(WRITTEN[text])


ITEMS = {
    ("minute", "h"): "17",
    ("minute", "H(0-29)/10"): "*/10",
    ("minute", "-*"): "*",
    ("minute", "*-5"): "0-5",
    ("minute", "5-*"): "5-59",
    ("minute", "5-/2"): "5-59/2",
    ("minute", "1..5"): "1-5",
    ("minute", "1;5"): "1,5",
    ("minute", "\\*"): "*",
    ("minute", "+7"): "7",
    ("minute", "\uff11\uff15"): "15",
    ("minute", "1\u20135"): "1-5",
    ("hour", "12am"): "0",
    ("hour", "12pm"): "12",
    ("hour", "*/"): "*/6",
    ("day of month", "l-3"): "28",
    ("day of month", "LW"): "28",
    ("day of month", "-5"): "1-5",
    ("month", "3-"): "3-12",
    ("day of week", "fri#5"): "29-31",
    ("day of week", "2L"): "2",
    ("day of week", "?"): "*",
}
START, END = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 12, 31, tzinfo=UTC)
FIELDS = ("minute", "hour", "day of month", "month", "day of week")


@pytest.mark.parametrize(("field", "item"), ITEMS)
def test_the_item_that_is_meant_is_written_out(field: str, item: str) -> None:
    tokens = ["0"] * 2 + ["*"] * 3
    tokens[FIELDS.index(field)] = item
    with pytest.raises(CronError) as refused:
        parse(" ".join(tokens))
    assert re.search(rf"(?<![0-9*/-]){re.escape(ITEMS[field, item])}(?![0-9/-])", refused.value.message)
    assert refused.value.field == field


def test_the_second_monday_is_what_the_advice_for_it_says() -> None:
    schedule = make_schedule("0 0 8-14 * mon", day_match="and")
    fires = schedule.between(START, END)
    assert len(fires) == 12
    assert all(fire.scheduled_time.weekday() == 0 and 8 <= fire.scheduled_time.day <= 14 for fire in fires)


def test_advice_names_no_step_that_does_not_divide_the_hour_or_the_day() -> None:
    for text in ("@every 7m", "@every 5h", "rate(90 minutes)", "@every 0m", "@every 1h30m", "@every 30s"):
        with pytest.raises(CronError, match="names times of the day, not a distance"):
            parse(text)
