"""The calendar as bit masks, against Python's own calendar."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from scheduler.schedules.days import DayMasks, dates_in_400_years, is_leap, year_of, year_start, year_window

DAY_0 = date(1970, 1, 1)
day_sets = st.none() | st.sets(st.integers(1, 31), min_size=1).map(sorted).map(tuple)
month_sets = st.sets(st.integers(1, 12), min_size=1).map(sorted).map(tuple)
weekday_sets = st.none() | st.sets(st.integers(0, 6), min_size=1).map(sorted).map(tuple)
masks = st.builds(DayMasks, days=day_sets, months=month_sets, weekdays=weekday_sets, both=st.booleans())


def matches(masks: DayMasks, shown: date) -> bool:
    if shown.month not in masks.months:
        return False
    by_day = None if masks.days is None else shown.day in masks.days
    by_weekday = None if masks.weekdays is None else shown.isoweekday() % 7 in masks.weekdays
    asked = [by for by in (by_day, by_weekday) if by is not None]
    return all(asked) if masks.both else any(asked) or not asked


def test_years_begin_where_python_says() -> None:
    for year in range(1, 9_999):
        assert year_start(year) == (date(year, 1, 1) - DAY_0).days
        assert year_of(year_start(year)) == year
        assert year_of(year_start(year + 1) - 1) == year
        first, end, kind = year_window(year)
        assert (end - first == 366) is is_leap(year) is bool(kind % 2)


@examples(200)
@given(masks=masks, first=st.integers(-25_000, 60_000), length=st.integers(0, 800))
def test_next_previous_and_count_are_those_of_a_walk_through_the_calendar(
    masks: DayMasks, first: int, length: int
) -> None:
    last = first + length
    walked = [day for day in range(first, last + 1) if matches(masks, DAY_0 + timedelta(days=day))]
    assert masks.count_days(first, last) == len(walked)
    following, before = masks.next_day(first), masks.previous_day(last)
    assert (following if following is not None and following <= last else None) == (walked[0] if walked else None)
    assert (before if before is not None and before >= first else None) == (walked[-1] if walked else None)


@examples(300)
@given(masks=masks)
def test_never_is_known_without_looking_and_true_of_all_fourteen_kinds_of_year(masks: DayMasks) -> None:
    assert masks.never is not any(masks.mask(kind) for kind in range(14))
    assert (masks.next_day(0) is None) is masks.never


@examples(4)
@given(days=day_sets, months=month_sets, weekdays=weekday_sets)
def test_dates_of_400_years_are_those_of_a_walk(
    days: tuple[int, ...] | None, months: tuple[int, ...], weekdays: tuple[int, ...] | None
) -> None:
    masks = DayMasks(days=days, months=months, weekdays=weekdays, both=True)
    first = (date(2000, 1, 1) - DAY_0).days
    walked = sum(matches(masks, DAY_0 + timedelta(days=day)) for day in range(first, first + 146_097))
    assert dates_in_400_years(days=days, months=months, weekdays=weekdays) == walked
