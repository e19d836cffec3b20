"""New zone data: what they move is told, once, and nothing else is."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.planning.tzdata_changes import Outlook, Samples, announce, look_out, moved, read, repeated_until, write
from scheduler.schedules.schedule import Schedule, make_schedule

NOW = datetime(2026, 11, 24, tzinfo=UTC)
OLD, NEW = "2026b", "2027a"


def daily(zone: str, cron: str = "30 2 * * *") -> Schedule:
    return make_schedule(cron, timezone=zone)


def test_a_job_whose_zone_stays_as_it_was_is_not_moved() -> None:
    schedules = {"a": (1, daily("Europe/Berlin")), "b": (1, daily("UTC")), "c": (2, daily("Asia/Tokyo", "*/5 * * * *"))}
    assert moved(look_out(OLD, schedules, NOW), schedules, NOW) == []


def test_a_job_is_moved_where_its_clock_changes_only_months_from_now() -> None:
    # Berlin without its summer time is Algiers, which has the same offset in winter.
    old = look_out(OLD, {"a": (1, daily("Europe/Berlin"))}, NOW)
    [found] = moved(old, {"a": (1, daily("Africa/Algiers"))}, NOW)
    assert found.job == "a"
    assert found.before > datetime(2027, 3, 28, tzinfo=UTC)
    assert found.after == found.before + timedelta(hours=1)


def test_a_job_is_moved_at_once_where_its_offset_is_another() -> None:
    old = look_out(OLD, {"a": (1, daily("Europe/Berlin"))}, NOW)
    [found] = moved(old, {"a": (1, daily("Europe/London"))}, NOW)
    assert (found.before, found.after) == (NOW + timedelta(hours=1, minutes=30), NOW + timedelta(hours=2, minutes=30))


def test_an_edited_job_a_new_one_and_a_removed_one_are_not_moved() -> None:
    old = look_out(OLD, {"a": (1, daily("Europe/Berlin")), "gone": (1, daily("UTC"))}, NOW)
    assert moved(old, {"a": (2, daily("Asia/Tokyo")), "new": (1, daily("UTC"))}, NOW) == []


def test_slots_that_are_over_say_nothing() -> None:
    old = Outlook(version=OLD, jobs={"a": Samples(revision=1, offset=0, slots=(NOW - timedelta(minutes=7),))})
    assert moved(old, {"a": (1, daily("UTC"))}, NOW) == []


def test_an_interval_is_moved_by_no_shift_of_whole_intervals() -> None:
    old = look_out(OLD, {"a": (1, daily("Europe/Berlin", "*/15 * * * *"))}, NOW)
    assert moved(old, {"a": (1, daily("Asia/Tokyo", "*/15 * * * *"))}, NOW) == []


BERLIN, LONDON = daily("Europe/Berlin"), daily("Europe/London")
RAN = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)
"""02:30 in Berlin."""


def test_a_time_of_day_that_has_been_does_not_come_again_when_the_clock_is_turned_back() -> None:
    old = look_out(OLD, {"a": (1, BERLIN)}, RAN)
    until = repeated_until(old, "a", 1, LONDON, RAN)
    assert until == RAN + timedelta(hours=1)
    assert [fire.scheduled_time for fire in LONDON.between(RAN, until)] == [until]  # 02:30 in London, that same day


def test_no_time_of_day_is_repeated_where_the_clock_goes_forward_or_stays_or_the_job_was_edited() -> None:
    old = look_out(OLD, {"a": (1, LONDON), "b": (1, daily("Europe/Berlin", "*/15 * * * *"))}, RAN)
    assert repeated_until(old, "a", 1, BERLIN, RAN) is None
    assert repeated_until(old, "a", 1, LONDON, RAN) is None
    assert repeated_until(old, "a", 2, daily("America/New_York"), RAN) is None
    assert repeated_until(old, "b", 1, daily("Europe/London", "*/15 * * * *"), RAN) is None
    assert repeated_until(old, "new", 1, daily("America/New_York"), RAN) is None


def test_a_job_that_never_fires_is_no_trouble() -> None:
    schedules = {"a": (1, daily("UTC", "0 0 30 2 *")), "b": (1, daily("UTC", ""))}
    assert moved(look_out(OLD, schedules, NOW), schedules, NOW) == []


def test_the_notice_names_the_jobs_and_counts_those_that_are_too_many() -> None:
    old = look_out(OLD, {f"job{n:02}": (1, daily("Europe/Berlin")) for n in range(60)}, NOW)
    found = moved(old, {f"job{n:02}": (1, daily("Europe/London")) for n in range(60)}, NOW)
    told = announce(OLD, NEW, found)
    assert told.subject == "New time zone data move 60 jobs"
    assert "job00: 2026-11-24T01:30:00Z becomes 2026-11-24T02:30:00Z" in told.body
    assert "and 10 more" in told.body


def test_an_outlook_survives_storage() -> None:
    outlook = look_out(OLD, {"a": (3, daily("America/New_York")), "b": (1, daily("UTC", "0 0 30 2 *"))}, NOW)
    assert read(write(outlook)) == outlook


@given(
    st.text(max_size=60)
    | st.just('{"version": 1, "jobs": {"a": []}}')
    | st.just('{"version":"x","jobs":{"a":[1,"x"]}}')
)
def test_what_cannot_be_read_is_no_outlook(text: str) -> None:
    assert read(text) is None


def test_nothing_stored_is_no_outlook() -> None:
    assert read(None) is None


@pytest.mark.parametrize("version", ["2026b", ""])
def test_versions_are_kept_as_they_are(version: str) -> None:
    found = read(write(Outlook(version=version, jobs={})))
    assert found is not None
    assert found.version == version
