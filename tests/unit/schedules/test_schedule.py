"""Schedules: DST by name, the ends of time, delays, and what is refused."""

import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from scheduler.schedules.schedule import MAX_DELAY, FireTime, Schedule, ScheduleError, make_schedule
from scheduler.schedules.timezones import zone


def local_fires(schedule: Schedule, first: str, last: str) -> list[str]:
    """Return the fires between two UTC dates, as that zone's clocks show them."""
    fires = schedule.between(datetime.fromisoformat(first + "Z"), datetime.fromisoformat(last + "Z"))
    return [f"{fire.scheduled_time.astimezone(ZoneInfo(schedule.timezone)):%m-%d %H:%M %Z}" for fire in fires]


class TestDstByName:
    NEW_YORK = "America/New_York"

    def test_a_fixed_time_in_the_gap_fires_once_right_after_it(self) -> None:
        schedule = make_schedule("30 2 * * *", timezone=self.NEW_YORK)
        assert local_fires(schedule, "2026-03-07T12:00", "2026-03-10T00:00") == ["03-08 03:00 EDT", "03-09 02:30 EDT"]

    def test_many_fixed_times_in_the_gap_are_one_fire_merged_with_a_real_one(self) -> None:
        schedule = make_schedule("0,20,40 2,3 * * *", timezone=self.NEW_YORK)
        day = ["03-08 03:00 EDT", "03-08 03:20 EDT", "03-08 03:40 EDT"]
        assert local_fires(schedule, "2026-03-08T05:00", "2026-03-08T12:00") == day

    def test_skipped_on_request(self) -> None:
        schedule = make_schedule("30 2 * * *", timezone=self.NEW_YORK, gap="skip")
        assert local_fires(schedule, "2026-03-07T12:00", "2026-03-10T00:00") == ["03-09 02:30 EDT"]

    @pytest.mark.parametrize(
        ("fold", "fires"),
        [
            ("first", ["11-01 01:30 EDT"]),
            ("second", ["11-01 01:30 EST"]),
            ("both", ["11-01 01:30 EDT", "11-01 01:30 EST"]),
        ],
    )
    def test_a_fixed_time_in_the_fold(self, fold: str, fires: list[str]) -> None:
        schedule = make_schedule("30 1 * * *", timezone=self.NEW_YORK, fold=fold)
        assert local_fires(schedule, "2026-10-31T12:00", "2026-11-01T12:00") == fires

    def test_an_interval_job_fires_in_both_passes_and_never_in_the_gap(self) -> None:
        schedule = make_schedule("30 * * * *", timezone=self.NEW_YORK)
        fold = ["11-01 00:30 EDT", "11-01 01:30 EDT", "11-01 01:30 EST", "11-01 02:30 EST"]
        assert local_fires(schedule, "2026-11-01T04:00", "2026-11-01T08:00") == fold
        gap = ["03-08 01:30 EST", "03-08 03:30 EDT"]
        assert local_fires(schedule, "2026-03-08T06:00", "2026-03-08T08:00") == gap

    def test_wallclock_is_skip_and_both(self) -> None:
        schedule = make_schedule("30 1 * * *", timezone=self.NEW_YORK, dst="wallclock")
        assert (schedule.gap, schedule.fold) == ("skip", "both")
        assert make_schedule("30 1 * * *", dst="wallclock", gap="after").gap == "after"

    @pytest.mark.parametrize("name", ["America/Santiago", "Asia/Beirut", "America/Havana"])
    def test_a_midnight_gap_still_has_its_daily_run(self, name: str) -> None:
        schedule = make_schedule("0 0 * * *", timezone=name)
        year = schedule.epochs_between(1_672_531_200, 1_704_067_200)  # 2023
        dates = {datetime.fromtimestamp(fire, UTC).astimezone(ZoneInfo(name)).date() for fire in year}
        assert len(year) == len(dates) == 365

    def test_the_day_that_apia_never_had_is_one_fire_for_a_fixed_job(self) -> None:
        schedule = make_schedule("0 12 * * *", timezone="Pacific/Apia")
        fires = [datetime.fromtimestamp(t, UTC) for t in schedule.epochs_between(1_325_116_800, 1_325_376_000)]
        shown = [f"{fire.astimezone(ZoneInfo('Pacific/Apia')):%m-%d %H:%M}" for fire in fires]
        assert shown == ["12-29 12:00", "12-31 00:00", "12-31 12:00", "01-01 12:00"]

    def test_lord_howe_shifts_by_half_an_hour(self) -> None:
        schedule = make_schedule("30 * * * *", timezone="Australia/Lord_Howe")
        assert local_fires(schedule, "2026-10-03T13:30", "2026-10-03T16:30") == [
            "10-04 00:30 +1030",
            "10-04 01:30 +1030",
            "10-04 02:30 +11",
            "10-04 03:30 +11",
        ]

    def test_negative_dst_and_odd_zones_have_every_day(self) -> None:
        for name in ("Europe/Dublin", "Africa/Casablanca", "Antarctica/Troll"):
            for hour in range(4):
                schedule = make_schedule(f"30 {hour} * * *", timezone=name)
                assert schedule.count_epochs(1_767_225_599, 1_798_761_599) == 365, (name, hour)

    def test_effects_are_told_in_words(self) -> None:
        schedule = make_schedule("30 2 * * *", timezone=self.NEW_YORK)
        year = schedule.dst_effects(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
        assert [(effect.kind, effect.words) for effect in year] == [
            ("gap", "the clock goes forward over 1 time of this schedule: fires once, right after the gap")
        ]


class TestEdges:
    @pytest.mark.parametrize("asked_before", [False, True])
    def test_a_fire_long_ago_has_the_offset_of_its_own_time(self, asked_before: bool) -> None:  # noqa: FBT001 - a table
        """Istanbul was two hours east of UTC until 2016; a table that begins later must not speak for then."""
        zone.cache_clear()
        schedule = make_schedule("0 0 29 2 0", day_match="and", timezone="Europe/Istanbul")
        if asked_before:
            schedule.count(datetime(1990, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
        fire = schedule.previous(datetime(2026, 11, 23, tzinfo=UTC))
        assert fire is not None
        assert fire.scheduled_time == datetime(2004, 2, 28, 22, tzinfo=UTC)

    def test_leap_days_are_found_across_2100(self) -> None:
        schedule = make_schedule("0 0 29 2 *")
        fire = schedule.next_after(datetime(2096, 2, 29, tzinfo=UTC))
        assert fire is not None
        assert fire.scheduled_time == datetime(2104, 2, 29, tzinfo=UTC)

    def test_a_leap_day_on_one_weekday_is_found_far_away(self) -> None:
        schedule = make_schedule("0 0 29 2 1", day_match="and", timezone="America/New_York")
        fire = schedule.next_after(datetime(2072, 3, 1, tzinfo=UTC))
        assert fire is not None
        assert fire.scheduled_time == datetime(2112, 2, 29, 5, tzinfo=UTC)

    @pytest.mark.parametrize("name", ["UTC", "America/New_York", "Asia/Tokyo"])
    def test_the_ends_of_time_are_none_and_no_error(self, name: str) -> None:
        schedule = make_schedule("0 0 * * *", timezone=name, delay=MAX_DELAY)
        first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        assert schedule.next_after(last) is None
        assert schedule.previous(first) is None
        earliest, latest = schedule.next_after(first), schedule.previous(last)
        assert earliest is not None
        assert latest is not None
        assert (earliest.scheduled_time.year, latest.scheduled_time.year) == (2, 9998)
        assert schedule.previous(earliest.scheduled_time) is None
        assert schedule.next_after(latest.scheduled_time) is None
        assert schedule.between(first, earliest.scheduled_time) == [earliest]
        assert schedule.between(latest.scheduled_time - timedelta(hours=1), last) == [latest]

    def test_all_of_time_is_counted_without_listing_it(self) -> None:
        schedule = make_schedule("0 0 1 7 *", timezone="America/New_York")
        all_of_it = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        assert schedule.count(*all_of_it) == 9997

    @pytest.mark.parametrize("text", ["30 2 8-14 3 0", "15 2 8-14 3 0"])
    def test_a_time_that_every_year_skips_never_fires_and_the_search_for_it_ends(self, text: str) -> None:
        """New York's clocks skip 02:00 to 03:00 on the second Sunday of March."""
        switches = {"timezone": "America/New_York", "day_match": "and"}
        now = datetime(2026, 11, 23, tzinfo=UTC)
        assert make_schedule(text, gap="skip", **switches).next_after(now) is None
        fire = make_schedule(text, gap="after", **switches).next_after(now)
        assert fire is not None
        assert fire.scheduled_time == datetime(2027, 3, 14, 7, tzinfo=UTC)
        for later in (now, now.replace(year=9_000)):
            before = make_schedule(text, gap="skip", **switches).previous(later)
            assert before is not None
            assert before.scheduled_time.year == 2006  # the rule is of 2007

    def test_an_instant_within_a_minute_is_before_the_next_and_after_the_last_fire(self) -> None:
        schedule = make_schedule("* * * * *")
        moment = datetime(2026, 11, 23, 3, 0, 0, 1, tzinfo=UTC)
        following, last = schedule.next_after(moment), schedule.previous(moment)
        assert following is not None
        assert last is not None
        assert (following.scheduled_time, last.scheduled_time) == (
            moment.replace(minute=1, microsecond=0),
            moment.replace(microsecond=0),
        )
        assert not schedule.matches(moment)

    def test_naive_times_are_refused(self) -> None:
        with pytest.raises(ValueError, match="no time zone"):
            make_schedule("* * * * *").next_after(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test

    def test_any_aware_zone_is_understood_and_utc_comes_out(self) -> None:
        fire = make_schedule("0 3 * * *").next_after(datetime(2026, 1, 1, 3, 0, tzinfo=ZoneInfo("Asia/Tokyo")))
        assert fire is not None
        assert fire.scheduled_time == datetime(2026, 1, 1, 3, tzinfo=UTC)
        assert fire.scheduled_time.tzinfo is UTC

    def test_delay_moves_the_run_and_not_the_slot(self) -> None:
        fire = make_schedule("0 3 * * *", delay=5400).next_after(datetime(2026, 1, 1, tzinfo=UTC))
        assert fire is not None
        assert fire.run_time - fire.scheduled_time == timedelta(minutes=90)

    def test_a_schedule_in_use_can_be_copied_replaced_and_pickled(self) -> None:
        schedule = make_schedule("30 2 * * *", timezone="America/New_York", delay=60)
        now = datetime(2026, 11, 23, tzinfo=UTC)
        fire = schedule.next_after(now)
        pickled = pickle.loads(pickle.dumps(schedule))  # noqa: S301 - made right here
        for other in (copy.deepcopy(schedule), pickled, replace(schedule)):
            assert other == schedule
            assert hash(other) == hash(schedule)
            assert other.next_after(now) == fire
        assert replace(schedule, timezone="UTC").next_after(now) != fire

    def test_count_is_arithmetic_over_centuries(self) -> None:
        schedule = make_schedule("* * * * *")
        start = datetime(1600, 1, 1, tzinfo=UTC)
        assert schedule.count(start, start + timedelta(days=146_097)) == 146_097 * 1440

    def test_an_empty_or_backward_span_has_no_fire(self) -> None:
        schedule = make_schedule("* * * * *", timezone="America/New_York")
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        assert schedule.between(moment, moment) == []
        assert schedule.between(moment, moment - timedelta(days=1)) == []
        assert schedule.count(moment, moment - timedelta(days=1)) == 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("timezone", "PST", "'PST' is an abbreviation, which stands for no fixed zone; write America/Los_Angeles"),
        (
            "timezone",
            "EST",
            (
                "'EST' is an abbreviation, which stands for no fixed zone; write America/New_York, "
                "or Etc/GMT+5 for UTC-5 all year"
            ),
        ),
        ("timezone", "america/new_york", "'america/new_york' is no IANA time zone; did you mean America/New_York?"),
        ("timezone", "America/NewYork", "'America/NewYork' is no IANA time zone; did you mean America/New_York?"),
        ("timezone", "../etc/passwd", None),
        ("timezone", "", None),
        ("timezone", "x" * 500, None),
        ("timezone", "+09:00", None),
        ("delay", -1, "-1 is negative: a run cannot start before its slot"),
        ("delay", MAX_DELAY + 1, "31536001 seconds are over a year, the longest delay"),
        ("dst", "never", "'never': use one of once, wallclock"),
        ("gap", "before", "'before': use one of after, skip"),
        ("fold", "third", "'third': use one of first, second, both"),
    ],
)
def test_faults_of_a_schedule_name_key_and_value(key: str, value: object, message: str | None) -> None:
    with pytest.raises(ScheduleError) as caught:
        make_schedule("* * * * *", **{key: value})
    assert caught.value.key == key
    assert message is None or caught.value.message == message


@pytest.mark.parametrize("delay", [0, 600])
def test_fires_between_are_a_sequence_of_fire_times(delay: int) -> None:
    schedule = make_schedule("0 */6 * * *", delay=delay)
    start = datetime(2026, 11, 23, tzinfo=UTC)
    slots = [start + timedelta(hours=hours) for hours in (6, 12, 18, 24)]
    expected = [FireTime(slot, slot + timedelta(seconds=delay)) for slot in slots]
    found = schedule.between(start, start + timedelta(days=1))
    assert found == expected
    assert found != expected[1:]
    assert found != "fires"
    assert list(found) == list(iter(found)) == expected
    assert all(type(fire) is FireTime for fire in found)
    assert [found[index] for index in (0, -1)] == [expected[0], expected[-1]]
    assert found[1:3] == expected[1:3]
    assert list(reversed(found)) == expected[::-1]
    assert expected[2] in found
    assert repr(found).startswith("FireTimes([FireTime(scheduled_time=")
    with pytest.raises(IndexError):
        found[4]
