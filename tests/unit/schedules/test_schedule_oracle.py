"""The engine against a minute-by-minute oracle, above all where clocks change; and what must hold for any schedule."""

import os
import random
from bisect import bisect_left
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cron_oracle import HOUR, fires, matching, night_expression, oracle, random_expression, walk
from support.properties import examples

from scheduler.schedules.schedule import Schedule, make_schedule
from scheduler.schedules.timezones import ZoneError, zone

SEED = int(os.environ.get("SCHEDCTL_SEED", "20261123"))
FROM_1990, TO_2037 = 631_152_000, 2_145_916_800
GAPS, FOLDS, STEPS, DAY_MATCHES = ("after", "skip"), ("first", "second", "both"), ("multiples", "offset"), ("or", "and")
POLICIES = list(product(GAPS, FOLDS))
NAMED_ZONES = (
    "UTC",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "America/Santiago",  # midnight gaps
    "Asia/Beirut",
    "America/Havana",
    "Pacific/Apia",  # the day that never was
    "Europe/Dublin",  # negative DST
    "Africa/Casablanca",  # Ramadan
    "Antarctica/Troll",  # two hours
    "Asia/Kolkata",
)
SHARDS = 16
CAMPAIGN = 200
"""Expressions that each change of the clock is tried with."""


def told(schedule: Schedule, after: int, until: int) -> str:
    cron = schedule.cron
    switches = f"gap={schedule.gap} fold={schedule.fold} step={cron.step} day_match={cron.day_match}"
    return f"{cron.text!r} {schedule.timezone} {switches} ({after}, {until}]"


def stepwise(schedule: Schedule, after: int, until: int) -> list[int]:
    found: list[int] = []
    instant = schedule.next_epoch(after)
    while instant is not None and instant <= until:
        assert instant > (found[-1] if found else after), told(schedule, after, until)
        found.append(instant)
        instant = schedule.next_epoch(instant)
    return found


def backwards(schedule: Schedule, after: int, until: int) -> list[int]:
    found: list[int] = []
    instant = schedule.previous_epoch(until + 1)
    while instant is not None and instant > after:
        assert instant < (found[-1] if found else until + 1), told(schedule, after, until)
        found.append(instant)
        instant = schedule.previous_epoch(instant)
    return found[::-1]


def mismatches(schedule: Schedule, after: int, until: int, expected: list[int]) -> list[str]:
    """Say which of the four ways to ask differ from the expected fires."""
    wrong = []
    if schedule.epochs_between(after, until) != expected:
        wrong.append("batch")
    if stepwise(schedule, after, until) != expected:
        wrong.append("next_after")
    if backwards(schedule, after, until) != expected:
        wrong.append("previous")
    if schedule.count_epochs(after, until) != len(expected):
        wrong.append("count")
    return [f"{way}: {told(schedule, after, until)}" for way in wrong]


def changes(name: str) -> list[int]:
    return [start for start in zone(name).table(FROM_1990, TO_2037).starts if FROM_1990 <= start < TO_2037]


def full_names() -> list[str]:
    names = []
    for name in sorted(available_timezones()):
        try:
            zone(name)
        except ZoneError:
            continue
        names.append(name)
    return names


def try_change(name: str, at: int, texts: list[str]) -> tuple[int, list[str]]:
    """Try each text with each policy around a change of a zone's clock; return the count of cases, and what is wrong.

    The other switches go round with the expressions, so that each meets many changes.
    """
    table = zone(name).table(at, at)
    index = table.index(at)
    jump = abs(table.offsets[index] - table.offsets[max(index - 1, 0)])
    span = 4 * HOUR if jump <= 3 * HOUR else 26 * HOUR
    walked = walk(name, at - span, at + span, margin=span)
    wrong: list[str] = []
    for number, text in enumerate(texts):
        switches = {"step": STEPS[number % 2], "day_match": DAY_MATCHES[number // 2 % 2]}
        matches: set[int] | None = None
        for gap, fold in POLICIES:
            schedule = make_schedule(text, timezone=name, gap=gap, fold=fold, **switches)
            if matches is None:
                matches = matching(schedule.cron, walked.walls)
            wrong += mismatches(schedule, walked.after, walked.until, fires(schedule, walked, matches))
    return len(texts) * len(POLICIES), wrong


def campaign_texts() -> list[str]:
    rng = random.Random(SEED)
    return [night_expression(rng) for _ in range(CAMPAIGN)]


@pytest.mark.parametrize("name", NAMED_ZONES)
def test_the_oracle_agrees_over_days_in_the_named_zones(name: str) -> None:
    rng = random.Random(f"{SEED} {name}")
    for _ in range(12):
        at = rng.choice(changes(name) or [rng.randint(FROM_1990, TO_2037)])
        gap, fold = rng.choice(POLICIES)
        switches = {"step": rng.choice(STEPS), "day_match": rng.choice(("or", "and", "more-often"))}
        schedule = make_schedule(night_expression(rng), timezone=name, gap=gap, fold=fold, **switches)
        after, until = at - rng.randint(0, 100_000), at + rng.randint(0, 100_000)
        assert mismatches(schedule, after, until, oracle(schedule, after, until)) == []


@pytest.mark.parametrize("name", [name for name in NAMED_ZONES if name not in ("UTC", "Asia/Kolkata")])
def test_the_oracle_agrees_at_changes_of_the_named_zones_under_every_policy(name: str) -> None:
    rng = random.Random(f"{SEED} {name}")
    for at in rng.sample(changes(name), 3):
        assert try_change(name, at, rng.sample(campaign_texts(), 20))[1] == []


def test_the_oracle_agrees_in_a_sample_of_all_zones() -> None:
    rng = random.Random(SEED)
    names = full_names()
    for name in rng.sample(names, 60):
        found = changes(name)
        if found:
            assert try_change(name, rng.choice(found), rng.sample(campaign_texts(), 8))[1] == []


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_dst_campaign_over_every_zone_change_expression_and_policy(shard: int) -> None:
    """Zones whose tables are the same from 1990 to 2037 are tried once; test_zones proves the tables themselves."""
    clocks: dict[tuple[tuple[int, int], ...], str] = {}
    for name in full_names():
        table = zone(name).table(FROM_1990, TO_2037)
        kept = [(s, o) for s, o in zip(table.starts, table.offsets, strict=True) if FROM_1990 <= s < TO_2037]
        clocks.setdefault(((0, table.offsets[table.index(FROM_1990)]), *kept), name)
    cases, met, wrong = 0, 0, []
    for name in list(clocks.values())[shard::SHARDS]:
        for at in changes(name):
            tried, faults = try_change(name, at, campaign_texts())
            cases, met, wrong = cases + tried, met + 1, wrong + faults
    print(f"\nDST campaign {shard + 1}/{SHARDS}: seed {SEED}, {met} changes, {cases} cases, {len(wrong)} mismatches")  # noqa: T201 - the figure is the point
    assert not wrong, "\n".join(wrong[:10])


schedules = st.builds(
    lambda seed, name, policy: make_schedule(
        random_expression(random.Random(seed)), timezone=name, gap=policy[0], fold=policy[1]
    ),
    st.integers(min_value=0, max_value=2**32),
    st.sampled_from(NAMED_ZONES),
    st.sampled_from(POLICIES),
)
starts = st.integers(min_value=FROM_1990, max_value=TO_2037)


@examples(100)
@given(schedule=schedules, start=starts, draw=st.randoms(use_true_random=False))
def test_next_is_constant_between_fires_and_the_inverse_of_previous(
    schedule: Schedule, start: int, draw: random.Random
) -> None:
    fire = schedule.next_epoch(start)
    if fire is None:
        assert schedule.cron.never()
        return
    assert fire > start
    assert schedule.next_epoch(draw.randint(start, fire - 1)) == fire
    assert schedule.matches(datetime.fromtimestamp(fire, UTC))
    following = schedule.next_epoch(fire)
    assert following is not None
    assert schedule.previous_epoch(following) == fire
    assert schedule.previous_epoch(draw.randint(fire + 1, following)) == fire
    assert schedule.count_epochs(start, following) == 2
    assert schedule.epochs_between(start, following) == [fire, following]


@examples(60)
@given(schedule=schedules, start=starts)
def test_the_answer_does_not_depend_on_what_was_asked_before(schedule: Schedule, start: int) -> None:
    """A zone's table grows and a schedule remembers; neither may show."""
    used = schedule.next_epoch(start), schedule.previous_epoch(start)
    schedule.count_epochs(FROM_1990 - 40 * 366 * 86_400, TO_2037)
    again = schedule.next_epoch(start), schedule.previous_epoch(start)
    zone.cache_clear()
    new = replace(schedule)
    assert (new.previous_epoch(start), new.next_epoch(start)) == used[::-1] == again[::-1]


@examples(60)
@given(schedule=schedules, start=starts, draw=st.randoms(use_true_random=False))
def test_matches_is_the_same_as_enumeration(schedule: Schedule, start: int, draw: random.Random) -> None:
    found = schedule.epochs_between(start, start + 86_400)
    for instant in [*found[:20], *(draw.randint(start + 1, start + 86_400) for _ in range(20))]:
        place = bisect_left(found, instant)
        listed = place < len(found) and found[place] == instant
        assert schedule.matches(datetime.fromtimestamp(instant, UTC)) is listed


@examples(60)
@given(schedule=schedules, start=starts, days=st.integers(min_value=0, max_value=400))
def test_batches_of_instants_and_fires_and_counts_are_the_same(schedule: Schedule, start: int, days: int) -> None:
    """Spans on both sides of the length from which a batch is made a day at a time."""
    after = datetime.fromtimestamp(start, UTC)
    until = after + timedelta(days=days)
    epochs = schedule.epochs_between(start, start + days * 86_400)
    slots = schedule.slots_between(after, until)
    assert [int(slot.timestamp()) for slot in slots] == epochs
    assert [fire.scheduled_time for fire in schedule.between(after, until)] == slots
    assert schedule.count(after, until) == len(epochs)
