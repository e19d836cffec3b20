"""When a schedule begins and ends, in its zone; and a job that runs once."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.config.build import parse
from scheduler.errors.setting_faults import ConfigError
from scheduler.planning.plan import Planned, due
from scheduler.schedules.bounds import Bounds, check_end, check_start
from scheduler.schedules.schedule import Schedule, ScheduleError, make_schedule

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
END = datetime(2040, 1, 1, tzinfo=UTC)
NEW_YORK = "America/New_York"


def slots(cron: str = "", **keys: str) -> list[str]:
    schedule = make_schedule(cron, **keys)  # type: ignore[arg-type]  # texts
    found = [fire.scheduled_time for fire in schedule.fires_after(BEGIN)]
    assert found == schedule.slots_between(BEGIN, END)
    assert schedule.count(BEGIN, END) == len(found)
    before = schedule.previous(END)
    assert (before.scheduled_time if before else None) == (found[-1] if found else None)
    return [f"{slot:%Y-%m-%dT%H:%MZ}" for slot in found]


def test_the_first_and_the_last_day_are_those_of_the_zone() -> None:
    assert slots("0 0 * * *", timezone=NEW_YORK, starts_at="2026-12-01", ends_on="2026-12-03") == [
        "2026-12-01T05:00Z",
        "2026-12-02T05:00Z",
        "2026-12-03T05:00Z",
    ]
    assert slots("59 23 * * *", timezone="Asia/Tokyo", starts_at="2026-12-01T23:59", ends_on="2026-12-01") == [
        "2026-12-01T14:59Z"
    ]


def test_a_slot_at_the_start_itself_fires_and_one_just_before_does_not() -> None:
    assert slots("0 9 * * *", starts_at="2026-12-01T09:00", ends_on="2026-12-01") == ["2026-12-01T09:00Z"]
    assert slots("0 9 * * *", starts_at="2026-12-01T09:00:01", ends_on="2026-12-01") == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"starts_at": "2026-12-01T09:00"}, ["2026-12-01T09:00Z"]),
        ({"starts_at": "2026-12-01T09:00", "timezone": NEW_YORK}, ["2026-12-01T14:00Z"]),
        ({"starts_at": "2026-12-01T09:00+01:00", "timezone": NEW_YORK}, ["2026-12-01T08:00Z"]),
        ({"starts_at": "2028-02-29"}, ["2028-02-29T00:00Z"]),
        ({"starts_at": "2026-03-08T02:30", "timezone": NEW_YORK}, ["2026-03-08T07:00Z"]),
        ({"starts_at": "2026-03-08T02:30", "timezone": NEW_YORK, "gap": "skip"}, []),
        ({"starts_at": "2026-11-01T01:30", "timezone": NEW_YORK}, ["2026-11-01T05:30Z"]),
        ({"starts_at": "2026-11-01T01:30", "timezone": NEW_YORK, "fold": "second"}, ["2026-11-01T06:30Z"]),
    ],
)
def test_without_cron_a_job_runs_once_at_its_start(keys: dict[str, str], expected: list[str]) -> None:
    assert slots(**keys) == expected


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ({"starts_at": "soon"}, "starts_at", "such as 2026-12-01"),
        ({"starts_at": "2026-02-30"}, "starts_at", "such as 2026-12-01"),
        ({"starts_at": "0001-01-01"}, "starts_at", "such as 2026-12-01"),
        ({"starts_at": "2026-12-01T09:00:30"}, "starts_at", "leave out the seconds"),
        ({"cron": "* * * * *", "ends_on": "2026-12-01T09:00"}, "ends_on", "the last day"),
        ({"cron": "* * * * *", "ends_on": "9999-01-01"}, "ends_on", "the last day"),
        ({"cron": "* * * * *", "starts_at": "2026-12-02", "ends_on": "2026-12-01"}, "ends_on", "it would never fire"),
    ],
)
def test_what_is_no_time_is_refused_by_its_key(keys: dict[str, str], key: str, says: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        make_schedule(keys.get("cron", ""), **{name: text for name, text in keys.items() if name != "cron"})  # type: ignore[arg-type]
    assert refused.value.key == key
    assert says in str(refused.value)


@given(
    st.integers(-400_000, 400_000),
    st.integers(-400_000, 400_000),
    st.integers(0, 300_000) | st.none(),
    st.integers(0, 300_000) | st.none(),
)
def test_a_bounded_schedule_fires_what_the_boundless_one_does_within(
    a: int, b: int, low: int | None, high: int | None
) -> None:
    plain = make_schedule("*/7 */2 * * *", timezone="Europe/Berlin")
    bounded = Schedule(cron=plain.cron, timezone=plain.timezone, bounds=Bounds(low=low, high=high))
    first, last = min(a, b), max(a, b)

    def within(epoch: int) -> bool:
        return (low is None or epoch >= low) and (high is None or epoch < high)

    expected = [epoch for epoch in plain.epochs_between(first, last) if within(epoch)]
    assert bounded.epochs_between(first, last) == expected
    assert bounded.count_epochs(first, last) == len(expected)
    following = bounded.next_epoch(first)
    assert (following if following is not None and following <= last else None) == (expected[0] if expected else None)
    before = bounded.previous_epoch(last + 1)
    assert (before if before is not None and before > first else None) == (expected[-1] if expected else None)


def test_the_plan_owes_nothing_after_the_end() -> None:
    schedule = make_schedule("0 9 * * *", starts_at="2026-12-01", ends_on="2026-12-02")
    planned = Planned(name="x", schedule=schedule, after=BEGIN, catch_up="all", catch_up_window=timedelta(days=9999))
    owed = due(planned, END)
    assert owed is not None
    assert [fire.scheduled_time.day for fire in owed.fires] == [1, 2]
    assert due(Planned(name="x", schedule=schedule, after=owed.high_water), END) is None


JOB = """
[connections.warehouse]
type = "duckdb"
[connections.files]
type = "file"
directory = "out"
[jobs.x]
source = "warehouse"
query = "select 1"
export = {{ connection = "files" }}
{more}
"""


def test_a_config_file_may_have_toml_dates_or_text() -> None:
    for start, end in (("2026-12-01T09:00:00", "2026-12-31"), ('"2026-12-01T09:00:00"', '"2026-12-31"')):
        job = parse(JOB.format(more=f"starts_at = {start}\nends_on = {end}")).jobs["x"]
        assert (job.starts_at, job.ends_on) == ("2026-12-01T09:00:00", "2026-12-31")
        assert job.schedule is not None
        assert job.schedule.next_after(BEGIN) == (datetime(2026, 12, 1, 9, tzinfo=UTC),) * 2


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("starts_at = 5", "jobs.x.starts_at: starts_at = 5: write a date and time such as 2026-12-01"),
        ("starts_at = 09:00:00", "jobs.x.starts_at"),
        ('ends_on = "x"', 'jobs.x.ends_on: ends_on = "x": write the last day, such as 2027-03-31'),
        ("starts_at = 2026-12-02\nends_on = 2026-12-01", "jobs.x.ends_on"),
    ],
)
def test_a_fault_names_the_key_and_the_form(more: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(JOB.format(more=more))
    assert says in str(refused.value)


def test_dates_are_kept_as_text() -> None:
    assert check_start(date(2026, 12, 1)) == "2026-12-01"
    assert check_end(date(2026, 12, 1)) == "2026-12-01"
    with pytest.raises(ValueError, match="write a date and time"):
        check_start(time(9, 0))
