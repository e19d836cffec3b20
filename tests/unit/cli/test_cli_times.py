"""Times as people type and read them."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.cli.printing.times import duration, exact_duration, is_naive, iso, local, parse_time, relative
from scheduler.errors.operation_error import ErrorKind, OperationError

NOW = datetime(2026, 11, 23, 20, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T03:00:00Z", datetime(2026, 11, 23, 3, tzinfo=UTC)),
        ("2026-11-23T03:00-05:00", datetime(2026, 11, 23, 8, tzinfo=UTC)),
        ("2026-11-23T03:00", datetime(2026, 11, 23, 8, tzinfo=UTC)),
        (" 2026-11-23 03:00 ", datetime(2026, 11, 23, 8, tzinfo=UTC)),
        ("2026-11-23", datetime(2026, 11, 23, 5, tzinfo=UTC)),
        ("now", NOW),
        ("NOW", NOW),
    ],
)
def test_a_time_with_a_zone_is_that_instant_and_one_without_is_local_to_the_job(text: str, expected: datetime) -> None:
    assert parse_time(text, timezone="America/New_York", now=NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2026-13-01", "25:00", "0001-01-01T00:00+14:00", "2026-11-23T03:00 EST"]
)
def test_what_is_no_time_is_a_usage_error_that_shows_the_forms(text: str) -> None:
    with pytest.raises(OperationError, match=r"--from .* is no time; write ISO 8601") as caught:
        parse_time(text, timezone="UTC", now=NOW, option="--from")
    assert caught.value.kind is ErrorKind.USAGE


def test_a_local_time_that_the_clock_skips_is_refused() -> None:
    with pytest.raises(OperationError, match=r"skips 2027-03-14T02:30:00"):
        parse_time("2027-03-14T02:30", timezone="America/New_York", now=NOW)


def test_a_local_time_that_the_clock_shows_twice_is_refused_with_both_instants() -> None:
    with pytest.raises(OperationError, match=r"twice; write 2026-11-01T01:30:00-04:00 or 2026-11-01T01:30:00-05:00"):
        parse_time("2026-11-01T01:30", timezone="America/New_York", now=NOW)


def test_only_a_time_without_a_zone_is_naive() -> None:
    assert is_naive("2026-11-23T03:00")
    assert not is_naive("2026-11-23T03:00Z")
    assert not is_naive("now")


def test_an_instant_is_written_in_utc_with_milliseconds_only_where_there_are_any() -> None:
    assert iso(NOW) == "2026-11-23T20:00:00.123Z"
    assert iso(NOW.replace(microsecond=0)) == "2026-11-23T20:00:00Z"
    assert iso(None) is None


def test_a_local_time_names_its_day_and_zone_and_shows_seconds_only_where_there_are_any() -> None:
    assert local(NOW, "America/New_York") == "Mon 2026-11-23 15:00 EST"
    assert local(NOW + timedelta(seconds=7), "UTC") == "Mon 2026-11-23 20:00:07 UTC"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "now"),
        (5, "in 5 s"),
        (-65, "1 min ago"),
        (2 * 3600 + 59, "in 2 h"),
        (-86_400 * 3, "3 d ago"),
        (86_400 * 800, "in 2 y"),
    ],
)
def test_a_distance_is_told_in_its_largest_unit(seconds: int, expected: str) -> None:
    assert relative(NOW + timedelta(seconds=seconds), NOW) == expected


def test_lengths_of_time_read_like_the_config_file_takes_them() -> None:
    assert [exact_duration(value) for value in (0, 90, 600, 21_600, 604_800)] == ["0s", "90s", "10m", "6h", "7d"]
    assert duration(0.25) == "0.2 s"
