"""Which slots are owed: catch-up, delay, windows, and the heap."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.planning.plan import Due, Plan, Planned, due
from scheduler.schedules.schedule import make_schedule

DAY = datetime(2026, 11, 23, tzinfo=UTC)


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return DAY.replace(hour=hour, minute=minute, second=second)


def hourly(
    after: datetime, *, delay: int = 0, catch_up: str = "latest", window: timedelta = timedelta(days=7)
) -> Planned:
    schedule = make_schedule("0 * * * *", delay=delay)
    return Planned(name="job", schedule=schedule, after=after, catch_up=catch_up, catch_up_window=window)


def slots(found: Due | None) -> list[datetime]:
    assert found is not None
    return [fire.scheduled_time for fire in found.fires]


def passed(found: Due | None) -> list[tuple[datetime, datetime, int, str]]:
    assert found is not None
    return [(over.first, over.last, over.count, over.reason) for over in found.passed_over]


def test_nothing_is_owed_before_the_first_slot() -> None:
    assert due(hourly(at(3)), at(3, 59, 59)) is None


def test_a_slot_is_owed_from_its_very_instant_on() -> None:
    found = due(hourly(at(3)), at(4))
    assert slots(found) == [at(4)]
    assert found is not None
    assert found.high_water == at(4)


def test_latest_keeps_the_newest_missed_slot_and_says_which_it_passed_over() -> None:
    found = due(hourly(at(3)), at(8, 30))
    assert slots(found) == [at(8)]
    assert passed(found) == [(at(4), at(7), 4, "missed, catch_up is latest")]


def test_all_keeps_every_missed_slot_in_order() -> None:
    assert slots(due(hourly(at(3), catch_up="all"), at(6, 30))) == [at(4), at(5), at(6)]


def test_none_passes_over_what_is_late_but_not_what_is_on_time() -> None:
    found = due(hourly(at(3), catch_up="none"), at(6, 0, 30))
    assert slots(found) == [at(6)]
    assert passed(found) == [(at(4), at(5), 2, "missed, catch_up is none")]
    late = due(hourly(at(3), catch_up="none"), at(6, 2))
    assert slots(late) == []
    assert passed(late) == [(at(4), at(6), 3, "missed, catch_up is none")]


def test_slots_older_than_the_window_are_never_run() -> None:
    found = due(hourly(at(3), catch_up="all", window=timedelta(hours=2)), at(8, 30))
    assert slots(found) == [at(7), at(8)]
    assert passed(found) == [(at(4), at(6), 3, "older than catch_up_window")]


def test_a_slot_whose_delay_is_not_over_is_not_late() -> None:
    found = due(hourly(at(3), delay=2 * 3600), at(8, 30))
    assert slots(found) == [at(6), at(7), at(8)]
    assert passed(found) == [(at(4), at(5), 2, "missed, catch_up is latest")]


def test_a_clock_that_went_back_owes_nothing_again() -> None:
    assert due(hourly(at(8)), at(5, 30)) is None


@pytest.mark.parametrize("policy", ["latest", "all", "none"])
def test_every_slot_is_either_kept_or_passed_over(policy: str) -> None:
    for minutes in range(0, 60 * 30, 7):
        now = at(3) + timedelta(minutes=minutes)
        planned = hourly(at(3), delay=3 * 3600, catch_up=policy, window=timedelta(hours=9))
        found = due(planned, now)
        owed = planned.schedule.count(at(3), now)
        kept = 0 if found is None else len(found.fires) + sum(over.count for over in found.passed_over)
        assert kept == owed


def test_a_year_of_an_every_minute_job_is_one_row_and_one_run() -> None:
    schedule = make_schedule("* * * * *")
    year_ago = DAY - timedelta(days=365)
    found = due(Planned(name="job", schedule=schedule, after=year_ago, catch_up_window=timedelta(days=400)), DAY)
    assert slots(found) == [DAY]
    assert [count for _, _, count, _ in passed(found)] == [365 * 1440 - 1]


@pytest.mark.parametrize("policy", ["latest", "all", "none"])
@pytest.mark.parametrize("delay", [0, 3 * 3600])
def test_asked_for_a_few_at_a_time_each_slot_is_kept_or_passed_over_once(policy: str, delay: int) -> None:
    planned = hourly(at(3), delay=delay, catch_up=policy, window=timedelta(hours=19))
    now = at(3) + timedelta(hours=30, minutes=5)
    whole = due(planned, now)
    assert whole is not None
    fires, passed_over = [], []
    while (part := due(planned, now, 2)) is not None:
        assert len(part.fires) <= 2
        fires += part.fires
        passed_over += part.passed_over
        planned = replace(planned, after=part.high_water)
    assert tuple(fires) == whole.fires
    assert tuple(passed_over) == whole.passed_over
    assert planned.after == whole.high_water


def test_ten_years_of_an_every_minute_job_are_taken_a_part_at_a_time() -> None:
    ten_years = timedelta(days=3653)
    schedule = make_schedule("* * * * *", timezone="Europe/Berlin")
    planned = Planned(name="job", schedule=schedule, after=DAY, catch_up="all", catch_up_window=2 * ten_years)
    found = due(planned, DAY + ten_years, 3)
    assert slots(found) == [at(0, 1), at(0, 2), at(0, 3)]
    assert found is not None
    assert (found.high_water, found.passed_over) == (at(0, 3), ())


def test_the_plan_wakes_for_the_earliest_slot_and_hands_out_what_is_due() -> None:
    plan = Plan()
    plan.put(hourly(at(3)))
    later = Planned(name="later", schedule=make_schedule("30 5 * * *"), after=at(3))
    plan.put(later)
    assert plan.next_wakeup() == at(4).timestamp()
    assert [planned.name for planned in plan.take(at(4), 10)] == ["job"]
    assert plan.names() == {"later"}
    assert plan.next_wakeup() == at(5, 30).timestamp()


def test_a_changed_job_replaces_its_old_entry_and_a_dropped_one_is_gone() -> None:
    plan = Plan()
    plan.put(hourly(at(3)))
    plan.put(Planned(name="job", schedule=make_schedule("45 3 * * *"), after=at(3)))
    assert plan.next_wakeup() == at(3, 45).timestamp()
    plan.drop("job")
    assert plan.next_wakeup() is None
    assert plan.take(at(23), 10) == []


def test_taking_is_bounded() -> None:
    plan = Plan()
    for number in range(7):
        plan.put(Planned(name=f"job{number}", schedule=make_schedule("0 * * * *"), after=at(3)))
    assert len(plan.take(at(4), 5)) == 5
    assert len(plan.take(at(4), 5)) == 2


def test_a_job_that_never_fires_is_in_the_plan_but_never_wakes_it() -> None:
    plan = Plan()
    plan.put(Planned(name="never", schedule=make_schedule("0 0 30 2 *"), after=at(3)))
    assert plan.next_wakeup() is None
    assert len(plan) == 1


def test_a_job_put_anew_with_the_same_next_slot_takes_the_place_of_the_old_one() -> None:
    plan = Plan()
    old = Planned(name="x", schedule=make_schedule("0 3 * * *"), after=DAY)
    for revision in range(1, 4):
        plan.put(replace(old, revision=revision))
    wakeup = plan.next_wakeup()
    assert wakeup is not None
    assert [job.revision for job in plan.take(datetime.fromtimestamp(wakeup, UTC), 10)] == [3]
    assert plan.next_wakeup() is None
