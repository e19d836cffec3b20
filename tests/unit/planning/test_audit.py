"""What was owed against the rows there are: holes, doubles, strays, over edits, disables, removals and odd clocks."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.planning.audit import Audit, Change, SlotRow, audit_job
from scheduler.schedules.schedule import Schedule, make_schedule

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def change(kind: Any, minutes: float, cron: str | None = "* * * * *", anchored: float | None = None) -> Change:
    return Change(
        change=kind,
        schedule=make_schedule(cron) if cron else None,
        valid_from=at(minutes),
        anchored_at=at(minutes if anchored is None else anchored),
    )


def rows(*minutes: int) -> list[SlotRow]:
    return [SlotRow(run=minute, slot=at(minute)) for minute in minutes]


def audited(changes: list[Change], found: list[SlotRow], until: float | None, since: float | None = None) -> Audit:
    return audit_job(
        "job",
        changes,
        found,
        settled_until=None if until is None else at(until),
        since=None if since is None else at(since),
    )


def told(audit: Audit) -> list[tuple[str, int, int, int]]:
    """Give each finding as kind, first and last slot in minutes after noon, and count."""
    minute = timedelta(minutes=1)
    return [
        (each.kind, (each.first - NOON) // minute, (each.last - NOON) // minute, each.count) for each in audit.findings
    ]


def test_a_row_for_each_slot_is_sound() -> None:
    audit = audited([change("put", 0)], rows(1, 2, 3), until=3)
    assert (audit.jobs, audit.owed, audit.sound, told(audit)) == (1, 3, 3, [])


def test_holes_that_touch_are_one_finding() -> None:
    audit = audited([change("put", 0)], rows(1, 4, 6), until=7)
    assert told(audit) == [("hole", 2, 3, 2), ("hole", 5, 5, 1), ("hole", 7, 7, 1)]
    assert (audit.owed, audit.sound) == (7, 3)


def test_a_slot_with_two_rows_is_a_double_that_names_them() -> None:
    audit = audited([change("put", 0)], [*rows(1, 2), SlotRow(run=77, slot=at(2))], until=2)
    assert told(audit) == [("double", 2, 2, 1)]
    assert audit.findings[0].runs == (2, 77)


def test_a_row_for_many_slots_covers_just_those_and_must_count_right() -> None:
    many = SlotRow(run=9, slot=at(4), first=at(2), count=3)
    assert told(audited([change("put", 0)], [*rows(1), many, *rows(5)], until=5)) == []
    assert told(audited([change("put", 0)], [*rows(1, 3), many, *rows(5)], until=5)) == [("double", 3, 3, 1)]
    wrong = SlotRow(run=9, slot=at(4), first=at(2), count=5)
    assert told(audited([change("put", 0)], [*rows(1), wrong, *rows(5)], until=5)) == [("stray", 2, 4, 5)]


def test_a_row_at_a_time_that_the_schedule_does_not_name_is_a_stray() -> None:
    audit = audited([change("put", 0, "*/5 * * * *")], rows(5, 7, 10), until=10)
    assert told(audit) == [("stray", 7, 7, 1)]


def test_slots_that_nobody_has_looked_at_yet_are_not_owed_yet() -> None:
    assert audited([change("put", 0)], [], until=None).owed == 0
    assert told(audited([change("put", 0)], rows(1, 2, 3), until=2)) == []


def test_between_disable_and_enable_nothing_is_owed() -> None:
    changes = [change("put", 0), change("disabled", 2.5, anchored=0), change("enabled", 6.5)]
    assert told(audited(changes, rows(1, 2, 7), until=7)) == []
    assert told(audited(changes, rows(1, 7), until=7)) == [("hole", 2, 2, 1)]
    assert told(audited(changes, rows(1, 2), until=7)) == [("hole", 7, 7, 1)]


def test_an_edit_of_a_disabled_job_does_not_enable_it() -> None:
    changes = [change("put", 0), change("disabled", 2.5, anchored=0), change("put", 4.5, "*/2 * * * *")]
    assert told(audited(changes, rows(1, 2), until=2)) == []
    back = [*changes, change("enabled", 6.5, "*/2 * * * *")]
    assert told(audited(back, rows(1, 2, 8), until=8)) == []


def test_a_changed_schedule_counts_from_its_change() -> None:
    changes = [change("put", 0), change("put", 3.5, "*/5 * * * *")]
    assert told(audited(changes, rows(1, 2, 3, 5, 10), until=10)) == []
    assert told(audited(changes, rows(1, 2, 5, 6, 10), until=10)) == [("hole", 3, 3, 1), ("stray", 6, 6, 1)]


def test_a_change_of_anything_else_keeps_what_was_owed() -> None:
    changes = [change("put", 0), change("put", 3.5, anchored=0)]
    assert told(audited(changes, rows(1, 2, 3, 4, 5), until=5)) == []
    assert told(audited(changes, rows(1, 2, 5), until=5)) == [("hole", 3, 4, 2)]


def test_a_job_that_was_removed_and_came_again_owes_nothing_in_between() -> None:
    changes = [change("put", 0), change("removed", 2.5, anchored=0), change("put", 6.5)]
    assert told(audited(changes, rows(1, 2, 7), until=7)) == []
    assert told(audited(changes[:2], rows(1), until=None)) == [("hole", 2, 2, 1)]


def test_a_job_that_was_removed_while_disabled_comes_back_enabled() -> None:
    changes = [change("put", 0), change("disabled", 1.5, anchored=0), change("removed", 2.5, anchored=0)]
    assert told(audited([*changes, change("put", 6.5)], rows(1), until=8)) == [("hole", 7, 8, 2)]


def test_slots_that_fired_by_a_clock_that_was_ahead_belong_to_the_schedule_of_then() -> None:
    """The clock stood at 12:10 when it was set back to 12:03; the edit then counts from the newest slot that fired."""
    changes = [change("put", 0), change("put", 3, "*/5 * * * *", anchored=10)]
    assert told(audited(changes, rows(*range(1, 11), 15), until=15)) == []
    assert told(audited(changes, rows(*range(1, 9), 10, 15), until=15)) == [("hole", 9, 9, 1)]


def test_rows_by_a_clock_that_was_ahead_of_a_disable_harm_nobody() -> None:
    changes = [change("put", 0), change("disabled", 3.5, anchored=0)]
    assert told(audited(changes, rows(*range(1, 11)), until=10)) == []


@pytest.mark.parametrize("since", [0, 2, 3])
def test_what_is_before_the_beginning_is_left_out(since: int) -> None:
    many = SlotRow(run=9, slot=at(4), first=at(2), count=3)
    assert told(audited([change("put", 0)], [*rows(1), many, *rows(6)], until=6, since=since)) == [("hole", 5, 5, 1)]


def test_a_job_without_a_schedule_owes_nothing() -> None:
    assert audited([change("put", 0, None)], [], until=100).owed == 0


def test_dst_is_counted_as_the_schedule_has_it() -> None:
    """New York's clock skips 02:30 on 8 March 2026: the run comes at 03:00, 07:00 UTC."""
    schedule = make_schedule("30 2 * * *", timezone="America/New_York")
    day = datetime(2026, 3, 7, tzinfo=UTC)
    put = Change(change="put", schedule=schedule, valid_from=day, anchored_at=day)
    slots = [day.replace(hour=7, minute=30), day.replace(day=8, hour=7), day.replace(day=9, hour=6, minute=30)]
    found = [SlotRow(run=number, slot=slot) for number, slot in enumerate(slots)]
    assert audit_job("job", [put], found, settled_until=slots[-1]).sound == 3
    late = audit_job("job", [put], [found[0], found[2]], settled_until=slots[-1])
    assert [(each.kind, each.first) for each in late.findings] == [("hole", slots[1])]


TEN_YEARS = 3653 * 24 * 60


@pytest.mark.parametrize("since", [None, 700_000.1])
def test_a_row_for_ten_years_of_slots_is_counted_and_few_of_them_are_listed(
    monkeypatch: pytest.MonkeyPatch, since: float | None
) -> None:
    listed: list[int] = []
    list_them = Schedule.epochs_between

    def watched(schedule: Schedule, a: int, b: int) -> list[int]:
        listed.extend(found := list_them(schedule, a, b))
        return found

    monkeypatch.setattr(Schedule, "epochs_between", watched)
    missed = SlotRow(run=2, slot=at(TEN_YEARS), first=at(3), count=TEN_YEARS - 2)
    rest = rows(TEN_YEARS + 1)
    audit = audited([change("put", 0)], [*rows(1, 2), missed, *rest], until=TEN_YEARS + 2, since=since)
    owed = TEN_YEARS + 2 - int(since or 0)
    assert (audit.owed, audit.sound, told(audit)) == (owed, owed - 1, [("hole", TEN_YEARS + 2, TEN_YEARS + 2, 1)])
    assert len(listed) <= 2 * 24 * 60


def test_a_second_row_for_a_slot_that_is_not_listed_is_a_double_and_a_time_between_slots_a_stray() -> None:
    missed = SlotRow(run=9, slot=at(5000), first=at(1), count=5000)
    audit = audited([change("put", 0)], [*rows(700), missed, *rows(5000)], until=5000)
    assert told(audit) == [("double", 700, 700, 1), ("double", 5000, 5000, 1)]
    assert (audit.owed, audit.sound) == (5000, 4998)
    assert told(audited([change("put", 0)], [missed, *rows(5001)], until=5001)) == []
    half = SlotRow(run=8, slot=at(99.5))
    assert told(audited([change("put", 0)], [missed, half, *rows(5001)], until=5001)) == [("stray", 99, 99, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_found_does_not_depend_on_which_slots_are_listed(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    dice = random.Random(seed)
    monkeypatch.setattr("scheduler.planning.audit.AHEAD", dice.choice([0, 60, 1800, 86_400]))
    changes = [change("put", 0, "*/2 * * * *"), change("put", 200), change("disabled", 300), change("enabled", 320)]
    found: list[SlotRow] = []
    minute, number = 1, 0
    while minute < 500:
        number += 1
        length = dice.choice([1, 1, 2, 30])
        last = minute + length - 1
        cron = "*/2 * * * *" if last <= 200 else "* * * * *"
        count = make_schedule(cron).count(at(minute - 1), at(last))
        if count and dice.random() > 0.1:
            row = SlotRow(run=number, slot=at(last), first=at(minute) if count > 1 else None, count=count)
            found += [row] * dice.choice([1, 1, 1, 2])
        minute = last + 1
    found.sort(key=lambda row: (row.slot, row.run))
    audits: list[Audit] = []
    for listed in (10**9, 1):
        monkeypatch.setattr("scheduler.planning.audit.LISTED", listed)
        audits.append(audited(changes, found, until=480, since=seed * 7 if seed % 2 else None))
    assert audits[0] == audits[1]
