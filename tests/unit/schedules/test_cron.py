"""The dialect: what parses to what, what is refused with which words, and every example of Treasure Data's page."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cron_oracle import random_expression

from scheduler.schedules.days import dates_in_400_years
from scheduler.schedules.expression import parse
from scheduler.schedules.plain_words import in_words
from scheduler.schedules.schedule import make_schedule

FIVE = "minute, hour, day of month, month, day of week"
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
LETTERS = "?, L, W and # are not part of this dialect; use * or numbers from 1 to 31"


def fires(cron: str, count: int, *, since: str = "2026-11-01", **switches: str) -> list[str]:
    schedule = make_schedule(cron, **switches)
    moment = datetime.fromisoformat(since).replace(tzinfo=UTC)
    found = []
    for _ in range(count):
        fire = schedule.next_after(moment)
        assert fire is not None
        moment = fire.scheduled_time
        found.append(f"{moment:%m-%d %H:%M}")
    return found


class TestTreasureDatasPage:
    """Each example of the page, by what it says of it."""

    def test_conflicting_day_fields_by_the_pages_rule_follow_the_one_that_asks_for_more(self) -> None:
        expected = ["11-02 00:00", "11-09 00:00", "11-16 00:00", "11-23 00:00", "11-30 00:00", "12-07 00:00"]
        assert fires("0 0 1 * 1", 6, day_match="more-often") == expected

    def test_daily_is_midnight_in_the_zone(self) -> None:
        assert fires("@daily", 2, timezone="Asia/Tokyo") == ["11-01 15:00", "11-02 15:00"]

    def test_hourly_is_minute_zero(self) -> None:
        assert fires("@hourly", 2) == ["11-01 01:00", "11-01 02:00"]

    def test_once_an_hour(self) -> None:
        assert fires("0 * * * *", 2) == ["11-01 01:00", "11-01 02:00"]

    def test_once_a_day_at_midnight(self) -> None:
        assert fires("0 0 * * *", 2) == ["11-02 00:00", "11-03 00:00"]

    def test_once_a_month_on_the_morning_of_the_first(self) -> None:
        assert fires("0 0 1 * *", 2) == ["12-01 00:00", "01-01 00:00"]

    def test_the_empty_text_is_a_job_with_no_scheduled_time(self) -> None:
        assert make_schedule("").next_after(datetime(2026, 1, 1, tzinfo=UTC)) is None

    def test_the_first_ten_days_of_a_month(self) -> None:
        assert parse("0 0 1-10 * *").days == tuple(range(1, 11))

    def test_the_1st_11th_and_21st(self) -> None:
        assert parse("0 0 1,11,21 * *").days == (1, 11, 21)

    def test_on_the_first_every_two_hours_from_half_past_midnight(self) -> None:
        assert fires("30 */2 1 * *", 3, since="2026-11-30") == ["12-01 00:30", "12-01 02:30", "12-01 04:30"]

    def test_every_five_days_starting_on_the_fifth(self) -> None:
        assert parse("0 0 */5 * *").days == (5, 10, 15, 20, 25, 30)

    def test_a_mixed_list_has_what_the_page_lists_and_the_30th_by_its_own_rule(self) -> None:
        assert parse("0 0 5,*/10,25 * *").days == (5, 10, 20, 25, 30)

    def test_the_pages_list_of_any_of_the_above(self) -> None:
        assert parse("0 0 2,*/5,8-10 * *").days == (2, 5, 8, 9, 10, 15, 20, 25, 30)

    @pytest.mark.parametrize(("name", "number"), list(zip(DAYS, range(7), strict=True)))
    def test_day_names(self, name: str, number: int) -> None:
        assert parse(f"0 0 * * {name}").weekdays == (number,)

    @pytest.mark.parametrize(
        ("name", "number"),
        list(zip(MONTHS, range(1, 13), strict=True)),
    )
    def test_month_names(self, name: str, number: int) -> None:
        assert parse(f"0 0 1 {name} *").months == (number,)

    def test_the_limits_of_each_field(self) -> None:
        cron = parse("* * * * *")
        assert (cron.minutes, cron.hours) == (tuple(range(60)), tuple(range(24)))
        assert (cron.days, cron.months, cron.weekdays) == (tuple(range(1, 32)), tuple(range(1, 13)), tuple(range(7)))


class TestMeaning:
    def test_vixie_steps_on_request(self) -> None:
        assert parse("0 0 */5 */3 *", step="offset").days == (1, 6, 11, 16, 21, 26, 31)
        assert parse("0 0 */5 */3 *", step="offset").months == (1, 4, 7, 10)
        assert parse("0 0 */5 */3 *").months == (3, 6, 9, 12)

    def test_steps_of_minute_hour_and_day_of_week_are_the_same_either_way(self) -> None:
        for step in ("multiples", "offset"):
            cron = parse("*/25 */7 * * */3", step=step)
            assert (cron.minutes, cron.hours, cron.weekdays) == ((0, 25, 50), (0, 7, 14, 21), (0, 3, 6))

    def test_a_step_in_a_range_counts_from_its_start(self) -> None:
        assert parse("3-20/5 * * * *").minutes == (3, 8, 13, 18)

    def test_seven_and_zero_are_sunday_and_seven_or_sun_may_end_a_range(self) -> None:
        assert parse("0 0 * * 7").weekdays == (0,)
        assert parse("0 0 * * 5-7").weekdays == (0, 5, 6)
        assert parse("0 0 * * fri-sun").weekdays == (0, 5, 6)
        assert parse("0 0 * * sun-tue").weekdays == (0, 1, 2)

    def test_names_in_any_case_in_lists_and_ranges(self) -> None:
        assert parse("0 0 * JAN,mar-May Mon,WED").months == (1, 3, 4, 5)

    def test_two_restricted_day_fields_are_joined_by_or(self) -> None:
        assert fires("0 0 1 * 1", 4) == ["11-02 00:00", "11-09 00:00", "11-16 00:00", "11-23 00:00"]
        assert fires("0 0 1 * 1", 2, since="2026-11-28") == ["11-30 00:00", "12-01 00:00"]

    @pytest.mark.parametrize("text", ["0 0 */2 * 1", "0 0 1-31 * 1", "0 0 1 * 0-6", "0 0 1 * */2"])
    def test_only_a_literal_star_is_unrestricted(self, text: str) -> None:
        cron = parse(text)
        assert not cron.day_starred
        assert not cron.weekday_starred

    def test_and_on_request(self) -> None:
        assert fires("0 0 1 * 1", 2, day_match="and") == ["02-01 00:00", "03-01 00:00"]

    @pytest.mark.parametrize(
        ("text", "by_day", "by_weekday", "ignored"),
        [
            ("0 0 1 * 1", 4_800, 20_871, "day of month"),
            ("0 0 1,15 * 1", 9_600, 20_871, "day of month"),
            ("0 0 1,8,15,22 * 1", 19_200, 20_871, "day of month"),
            ("0 0 1,8,15,22,29 * 1", 23_697, 20_871, "day of week"),
            ("0 0 1-10 * 1", 48_000, 20_871, "day of week"),
            ("0 0 */5 * 1", 28_400, 20_871, "day of week"),
            ("0 0 31 * 1", 2_800, 20_871, "day of month"),
            ("0 0 30 2 1", 0, 1_615, "day of month"),
            ("0 0 29 2 1", 97, 1_615, "day of month"),
            ("0 0 1-4 2 1", 1_600, 1_615, "day of month"),
            ("0 0 1-31 * 0-6", 146_097, 146_097, "day of month"),
        ],
    )
    def test_more_often_counts_over_400_years(self, text: str, by_day: int, by_weekday: int, ignored: str) -> None:
        cron = parse(text, day_match="more-often")
        assert dates_in_400_years(days=cron.days, months=cron.months) == by_day
        assert dates_in_400_years(weekdays=cron.weekdays, months=cron.months) == by_weekday
        assert cron.ignored == ignored

    @pytest.mark.parametrize(
        ("alias", "text"),
        [
            ("@hourly", "0 * * * *"),
            ("@daily", "0 0 * * *"),
            ("@midnight", "0 0 * * *"),
            ("@weekly", "0 0 * * 0"),
            ("@monthly", "0 0 1 * *"),
            ("@yearly", "0 0 1 1 *"),
            ("@annually", "0 0 1 1 *"),
        ],
    )
    def test_aliases(self, alias: str, text: str) -> None:
        assert parse(alias) == parse(text)

    @pytest.mark.parametrize("text", [" 0 0\t*  * * ", "0 0 * * *", "00 00 * * *".replace("00", "0")])
    def test_blanks_separate_and_are_stored_single(self, text: str) -> None:
        assert parse(text).text == "0 0 * * *"

    @pytest.mark.parametrize("text", ["", " ", "\t "])
    def test_nothing_is_no_schedule(self, text: str) -> None:
        assert parse(text).text == ""
        assert in_words(parse(text)) == "no schedule"

    @pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30,31 2 *"])
    def test_impossible_dates_parse_and_never_fire(self, text: str) -> None:
        assert parse(text).never()
        assert in_words(parse(text)).startswith("never")

    @pytest.mark.parametrize("text", ["0 0 29 2 *", "0 0 31 1 *", "0 0 30 2 1", "* * * * *"])
    def test_rare_is_not_never(self, text: str) -> None:
        assert not parse(text).never()

    @pytest.mark.parametrize(
        ("text", "interval"),
        [
            ("* 3 * * *", True),
            ("*/5 3 * * *", True),
            ("0 * * * *", True),
            ("0 */2 * * *", True),
            ("0-59 3 * * *", False),
        ],
    )
    def test_an_interval_job_begins_minute_or_hour_with_a_star(self, text: str, interval: bool) -> None:  # noqa: FBT001 - a table
        assert parse(text).interval is interval


@given(st.integers(min_value=0), st.sampled_from(["multiples", "offset"]), st.sampled_from(["or", "and", "more-often"]))
def test_parse_is_the_inverse_of_str(seed: int, step: str, day_match: str) -> None:
    cron = parse(random_expression(random.Random(seed)), step=step, day_match=day_match)
    assert parse(str(cron), step=step, day_match=day_match) == cron
