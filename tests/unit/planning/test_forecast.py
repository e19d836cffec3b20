"""The coming load, counted without listing each fire."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from scheduler.planning.forecast import Expected, forecast, runs_by_hour
from scheduler.schedules.bounds import Bounds
from scheduler.schedules.schedule import make_schedule

START = datetime(2026, 11, 23, 5, 40, tzinfo=UTC)
CRONS = (
    "* * * * *",
    "*/5 * * * *",
    "0 3 * * *",
    "15,45 9-17 * * mon-fri",
    "0 0 1 * *",
    "7 */6 * * *",
    "30 2 * * 0",
    "",
)
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago")


def test_the_count_by_hour_is_that_of_the_listed_fires_in_any_zone_with_any_delay_over_changes_of_the_clock() -> None:
    draw = random.Random(20261123)
    for _ in range(300):
        delay = draw.choice((0, 600, 3599, 90_000))
        schedule = make_schedule(draw.choice(CRONS), timezone=draw.choice(ZONES), delay=delay)
        if draw.random() < 0.3:
            low = int(datetime(2026, draw.randint(1, 12), draw.randint(1, 28), tzinfo=UTC).timestamp())
            schedule = replace(schedule, bounds=Bounds(low=low, high=low + draw.randint(1, 9) * 86_400))
        begin = int(
            datetime(2026, draw.randint(1, 12), draw.randint(1, 28), draw.randint(0, 23), tzinfo=UTC).timestamp()
        )
        hours = draw.choice((24, 168))
        slots = schedule.epochs_between(begin - delay - 1, begin + hours * 3600 - delay - 1)
        listed = Counter((slot + delay - begin) // 3600 for slot in slots)
        assert runs_by_hour(schedule, begin, hours) == listed, (schedule.cron.text, schedule.timezone, delay, begin)


def test_a_forecast_begins_with_the_full_hour_and_adds_up() -> None:
    jobs = [
        Expected(name="often", schedule=make_schedule("*/10 * * * *")),
        Expected(name="daily", schedule=make_schedule("30 7 * * *")),
    ]
    found = forecast(jobs, start=START, days=2)
    assert found.start == datetime(2026, 11, 23, 5, tzinfo=UTC)
    assert len(found.hours) == 48
    assert sum(found.hours) == sum(job.runs for job in found.jobs) == 2 * 144 + 2
    assert found.peaks(1) == [(datetime(2026, 11, 23, 7, tzinfo=UTC), 7)]


def test_an_empty_forecast_has_no_peaks() -> None:
    assert forecast([], start=START, days=1).peaks() == []


def test_api_calls_follow_from_the_rows_and_time_of_the_last_run() -> None:
    schedule = make_schedule("0 3 * * *")
    known = Expected(name="known", schedule=schedule, batch_size=10_000, rows=25_000, seconds=45.0)
    never_ran = Expected(name="never ran", schedule=schedule, batch_size=10_000)
    to_file = Expected(name="to file", schedule=schedule, rows=25_000)
    by_name = {job.name: job for job in forecast([known, never_ran, to_file], start=START, days=7).jobs}
    assert (by_name["known"].bulk_jobs, by_name["known"].api_calls) == (7, 7 * (5 + 2 * 3 + 4))
    assert (by_name["never ran"].bulk_jobs, by_name["never ran"].api_calls) == (7, None)
    assert (by_name["to file"].bulk_jobs, by_name["to file"].api_calls) == (None, None)
