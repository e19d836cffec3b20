"""Coming fires as people look at them."""

from datetime import UTC, datetime

from scheduler.schedules.schedule import make_schedule
from scheduler.schedules.upcoming import coming, fields


def test_fires_are_strictly_after_the_given_instant_and_no_more_than_asked_for() -> None:
    schedule = make_schedule("0 3 * * *", delay=600)
    fires = coming(schedule, datetime(2026, 11, 23, 3, tzinfo=UTC), 2)
    assert [fire.scheduled_time for fire in fires] == [
        datetime(2026, 11, 24, 3, tzinfo=UTC),
        datetime(2026, 11, 25, 3, tzinfo=UTC),
    ]
    assert [fire.run_time.minute for fire in fires] == [10, 10]
    assert [fire.note for fire in fires] == ["", ""]


def test_a_schedule_that_never_fires_has_no_coming_fires() -> None:
    assert coming(make_schedule("0 0 30 2 *"), datetime(2026, 1, 1, tzinfo=UTC), 5) == []
    assert coming(make_schedule(""), datetime(2026, 1, 1, tzinfo=UTC), 5) == []


def test_the_fire_after_a_gap_in_the_clock_says_so() -> None:
    schedule = make_schedule("30 2 * * *", timezone="America/New_York")
    before, after, next_day = coming(schedule, datetime(2027, 3, 13, tzinfo=UTC), 3)
    assert (before.local, before.note) == ("2027-03-13T02:30:00-05:00", "")
    assert after.local == "2027-03-14T03:00:00-04:00"
    assert after.note.startswith("the clock changed: UTC-05:00 became UTC-04:00; 2027-03-14: the clock goes forward")
    assert next_day.note == ""


def test_a_change_of_the_clock_that_touches_no_slot_is_noted_too() -> None:
    schedule = make_schedule("0 12 * * *", timezone="Europe/Berlin")
    notes = [fire.note for fire in coming(schedule, datetime(2026, 10, 24, tzinfo=UTC), 3)]
    assert notes == ["", "the clock changed: UTC+02:00 became UTC+01:00", ""]


def test_offsets_of_local_mean_time_are_told_to_the_second() -> None:
    schedule = make_schedule("0 12 * * *", timezone="America/New_York")
    fires = coming(schedule, datetime(1883, 11, 16, 12, 0, 0, 5, tzinfo=UTC), 4)
    notes = [fire.note for fire in fires if fire.note]
    assert notes == ["the clock changed: UTC-04:56:02 became UTC-05:00"]


def test_the_instant_before_may_have_fractions_of_a_second() -> None:
    schedule = make_schedule("0 12 * * *", timezone="Europe/Berlin")
    [fire] = coming(schedule, datetime(2026, 10, 24, 12, 0, 0, 5, tzinfo=UTC), 1)
    assert fire.note == "the clock changed: UTC+02:00 became UTC+01:00"


def test_fields_are_named_and_expanded() -> None:
    expanded = fields(make_schedule("*/20 3 5,*/10,25 jan-mar sun").cron)
    assert expanded == {
        "minute": [0, 20, 40],
        "hour": [3],
        "day_of_month": [5, 10, 20, 25, 30],
        "month": [1, 2, 3],
        "day_of_week": [0],
    }
