"""What a careful colleague would say of a schedule."""

from datetime import UTC, datetime

import pytest

from scheduler.schedules.schedule import make_schedule
from scheduler.schedules.schedule_advice import Advice, advise, differences

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
VIXIE = 'as Treasure Data documents; Vixie cron counts from 1 (step = "offset")'


def advice(text: str, **switches: str) -> list[tuple[str, str]]:
    return [(found.code, found.words) for found in advise(make_schedule(text, **switches), NOW)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 3 * * *",
        "*/5 * * * *",
        "*/20 */6 * */3 1",
        "0 0 1-31 * *",
        "0 0 15 * *",
        "0 0 31 1,3,5 *",
        "0 0 */1 * *",
        "3-20/7 * * * *",
    ],
)
def test_nothing_is_said_where_there_is_nothing_to_say(text: str) -> None:
    assert [found for found in advice(text) if found[0] != "step_is_multiples"] == []


def test_an_impossible_date() -> None:
    assert advice("0 0 30 2 *") == [("never_fires", "'0 0 30 2 *' never fires: no such date exists")]


def test_a_time_that_the_clock_skips_every_year() -> None:
    switches = {"timezone": "America/New_York", "day_match": "and"}
    words = "'30 2 8-14 3 0' never fires: in America/New_York the clock skips its every time (gap = \"skip\")"
    assert advice("30 2 8-14 3 0", gap="skip", **switches) == [("never_fires", words)]
    assert "never_fires" not in dict(advice("30 2 8-14 3 0", **switches))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 0 */5 * *", f"day of month */5 means the multiples (5, 10, 15, 20, …), {VIXIE}"),
        ("0 0 1 */3 *", f"month */3 means the multiples (3, 6, 9, 12), {VIXIE}"),
        ("0 0 2,*/5,8-10 * *", f"day of month */5 means the multiples (5, 10, 15, 20, …), {VIXIE}"),
        ("0 0 1,*/10 * *", f"day of month */10 means the multiples (10, 20, 30), {VIXIE}"),
    ],
)
def test_steps_that_vixie_counts_from_one(text: str, words: str) -> None:
    assert advice(text) == [("step_is_multiples", words)]
    assert advice(text, step="offset") == []


@pytest.mark.parametrize(
    ("day_match", "rule"),
    [
        ("or", "a date that matches either one fires"),
        ("and", "both must match"),
        ("more-often", "day of month is ignored"),
    ],
)
def test_both_day_fields(day_match: str, rule: str) -> None:
    words = f'both day fields are restricted: {rule} (day_match = "{day_match}")'
    assert advice("0 0 1 * 1", day_match=day_match) == [("both_day_fields", words)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 0 31 * *", "day of month 31: February, April, June, September, November have no such day"),
        ("0 0 1,30 * *", "day of month 30: February has no such day"),
        ("0 0 29 * *", "day of month 29: February has no such day but in leap years"),
        ("0 0 29-31 4,12 *", "day of month 31: April has no such day"),
    ],
)
def test_days_that_some_months_do_not_have(text: str, words: str) -> None:
    assert advice(text) == [("short_months", words)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("*/7 * * * *", "minute */7: 7 does not divide 60; over the end of each hour, the step from 56 to 0 is 4"),
        ("0 */5 * * *", "hour */5: 5 does not divide 24; over the end of each day, the step from 20 to 0 is 4"),
        ("0 0 * * */2", "day of week */2: 2 does not divide 7; over the end of each week, the step from 6 to 0 is 1"),
    ],
)
def test_steps_that_do_not_divide_their_field(text: str, words: str) -> None:
    assert advice(text) == [("uneven_step", words)]


def test_a_month_step_that_does_not_divide_the_year() -> None:
    words = "month */5: 5 does not divide 12; over the end of each year, the step from 10 to 5 is 7"
    assert ("uneven_step", words) in advice("0 0 1 */5 *")


def test_changes_of_the_clock_over_the_next_year() -> None:
    found = advise(make_schedule("30 1,2 * * *", timezone="America/New_York"), NOW)
    assert found == [
        Advice(
            code="dst_gap",
            words="2027-03-14 in America/New_York: the clock goes forward over 1 time of this schedule: "
            "fires once, right after the gap",
        ),
        Advice(
            code="dst_fold",
            words="2027-11-07 in America/New_York: the clock goes back over 1 time of this schedule: "
            "fires in the first pass only",
        ),
    ]


def test_an_interval_job_is_not_warned_of_changes_that_it_follows_as_people_expect() -> None:
    assert advice("*/5 * * * *", timezone="America/New_York") == []


def test_an_hour_that_no_change_touches_is_not_warned_of() -> None:
    assert advice("30 12 * * *", timezone="America/New_York") == []


def test_differences_are_dates() -> None:
    found = differences(make_schedule("0 0 1 * 1"), NOW)
    assert [(other.rule, other.adds, other.drops[:2]) for other in found] == [
        ("day_match = and", (), ("2026-11-30", "2026-12-01")),
        ("day_match = more-often", (), ("2026-12-01", "2027-01-01")),
    ]


def test_differences_begin_tomorrow_as_the_zone_counts_days() -> None:
    """At noon in UTC it is Tuesday already in Kiritimati, so that its Tuesday is not one of the coming dates."""
    (other, _) = differences(make_schedule("0 0 1 * 2", timezone="Pacific/Kiritimati"), NOW)
    assert other.drops[:2] == ("2026-12-08", "2026-12-15")


def test_differences_under_vixies_steps() -> None:
    (steps,) = differences(make_schedule("0 0 */10 1 *"), NOW)
    assert steps.rule == "step = offset"
    assert steps.adds == ("2027-01-01", "2027-01-11", "2027-01-21", "2027-01-31")
    assert steps.drops == ("2027-01-10", "2027-01-20", "2027-01-30")
    assert steps.more == 0


def test_differences_that_are_too_many_to_list_are_counted() -> None:
    found = differences(make_schedule("0 0 1 * 1", day_match="more-often"), NOW, limit=2)
    other = next(other for other in found if other.rule == "day_match = or")
    assert (len(other.adds), other.more) == (2, 7)


def test_an_expression_that_every_rule_reads_alike_has_no_differences() -> None:
    assert differences(make_schedule("*/5 3 * * mon-fri"), NOW) == []
    assert differences(make_schedule(""), NOW) == []


def test_a_schedule_whose_time_is_over_is_not_said_to_be_skipped_by_the_clock() -> None:
    for bounds in ({"starts_at": "2020-01-01T06:00:00"}, {"cron": "0 6 * * *", "ends_on": "2020-01-01"}):
        found = advise(make_schedule(**{"cron": "", **bounds}), datetime(2026, 11, 26, tzinfo=UTC))
        assert [each.words for each in found] == ["its time is over: it does not fire any more"]
