"""The engine against croniter 7 and cronsim 2.8, with a written list of what may differ.

Both speak Vixie's dialect: ours is asked with ``step = "offset"``, and for cronsim, which follows Debian's star-bit
rule, with the day_match that this rule asks for. In UTC they are asked for the next fire; in two zones with DST,
cronsim also for the fires around a change of the clock, for its rule there is Debian's, which is our default.
"""

import os
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import CroniterBadDateError, croniter
from cronsim import CronSim, CronSimError
from support.cron_oracle import night_expression, random_expression
from support.properties import share

from scheduler.jobs.import_crontab import star_bit_rule
from scheduler.schedules.expression import parse
from scheduler.schedules.schedule import Schedule, make_schedule
from scheduler.schedules.timezones import zone

SEED = int(os.environ.get("SCHEDCTL_SEED", "20261123"))
FROM_1990, TO_2037 = 631_152_000, 2_145_916_800
DST_ZONES = ("America/New_York", "Europe/Berlin")

SAME_ENDS = re.compile(r"(?<!\d)(\d+)-\1(?!\d)")
SAME_ENDS_STEPPED = re.compile(r"(?<!\d)(\d+)-\1/")


def full_beside_a_step(text: str) -> bool:
    """Whether one day field holds every value and the other begins with ``*``, neither being a literal ``*``."""
    cron, fields = parse(text, step="offset"), text.split(" ")
    full_day, full_weekday = len(cron.days) == 31, len(cron.weekdays) == 7
    starred = "*" in (fields[2], fields[4])
    return not starred and ((full_day and fields[4][0] == "*") or (full_weekday and fields[2][0] == "*"))


# All that may differ, and nothing else may:
ALLOWED: dict[str, tuple[str, Callable[[str], object]]] = {
    "croniter: a-a is the whole cycle": ("croniter", SAME_ENDS.search),
    "croniter: a full day field beside */n restricts nothing": ("croniter", full_beside_a_step),
    "cronsim: a-a/n is a-max/n": ("cronsim", SAME_ENDS_STEPPED.search),
}
NEVER = "an expression that never fires is an error there, and None here"


def allowed(library: str, text: str) -> str | None:
    """Return the reason why a library may differ on an expression."""
    return next((why for why, (name, has) in ALLOWED.items() if name == library and has(text)), None)


def next_slot(schedule: Schedule, start: datetime) -> datetime | None:
    fire = schedule.next_after(start)
    return None if fire is None else fire.scheduled_time


def ask_croniter(text: str, start: datetime) -> datetime | None:
    try:
        found = croniter(text, start, max_years_between_matches=40).get_next(datetime)
    except CroniterBadDateError:
        return None
    assert isinstance(found, datetime)
    return found


def ask_cronsim(text: str, start: datetime) -> datetime | None:
    try:
        return next(CronSim(text, start))
    except CronSimError:
        return None


def compare(text: str, start: datetime) -> Counter[str]:
    """Compare the next fire in UTC; return how often each allowed difference was met."""
    met: Counter[str] = Counter()
    for library, ask, day_match in (("croniter", ask_croniter, "or"), ("cronsim", ask_cronsim, star_bit_rule(text))):
        mine = next_slot(make_schedule(text, step="offset", day_match=day_match), start)
        other = ask(text, start)
        why = allowed(library, text)
        if mine is None and why is None:
            assert other is None, f"{library}: {text!r} after {start}"
            met[NEVER] += 1
        elif mine != other:
            assert why is not None, f"{library}: {text!r} after {start}: {mine}, there {other} (seed {SEED})"
            met[why] += 1
    return met


def differential(cases: int, seed: int) -> Counter[str]:
    rng = random.Random(seed)
    met: Counter[str] = Counter()
    for _ in range(cases):
        start = datetime.fromtimestamp(rng.randint(FROM_1990, TO_2037) // 60 * 60, UTC)
        met += compare(random_expression(rng), start)
    return met


def differential_at_dst(cases: int, seed: int) -> int:
    """Compare three fires from a day around a change of the clock on; return how many were compared."""
    rng = random.Random(seed)
    compared = 0
    while compared < cases:
        name, text = rng.choice(DST_ZONES), night_expression(rng)
        schedule = make_schedule(text, timezone=name, step="offset", day_match=star_bit_rule(text))
        if allowed("cronsim", text) or schedule.cron.never():
            continue
        changes = [start for start in zone(name).table(FROM_1990, TO_2037).starts if FROM_1990 <= start < TO_2037]
        start = datetime.fromtimestamp((rng.choice(changes) - rng.randint(0, 86_400)) // 60 * 60, UTC)
        theirs = CronSim(text, start.astimezone(ZoneInfo(name)))
        for fire, _ in zip(schedule.fires_after(start), range(3), strict=False):
            other = next(theirs).astimezone(UTC)
            assert fire.scheduled_time == other, f"{text!r} in {name} after {start} (seed {seed})"
        compared += 1
    return compared


@pytest.mark.parametrize("shard", range(4))
def test_croniter_and_cronsim_agree(shard: int) -> None:
    met = differential(share(4_000), SEED + shard)
    print(f"seed {SEED + shard}: {dict(met)}")  # noqa: T201 - shown if it fails
    assert set(met) <= {NEVER, *ALLOWED}


def test_cronsim_agrees_around_changes_of_the_clock() -> None:
    assert differential_at_dst(share(4_000), SEED) == share(4_000)


def test_every_allowed_difference_is_still_real() -> None:
    """An entry that a library has mended is to go from the list."""
    start = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
    assert compare("7-7 3 * * *", start)["croniter: a-a is the whole cycle"] == 1
    assert compare("7-7/2 * * * *", start)["cronsim: a-a/n is a-max/n"] == 1
    assert compare("0 3 */5 * 0-6", start)["croniter: a full day field beside */n restricts nothing"] == 1
    assert compare("0 0 30 2 *", start)[NEVER] == 2


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("shard", range(8))
def test_croniter_and_cronsim_agree_on_a_million_cases(shard: int) -> None:
    seed = SEED + 1_000 + shard
    met = differential(115_000, seed)
    compared = differential_at_dst(10_000, seed)
    print(f"\ndifferential {shard + 1}/8: seed {seed}, 115,000 cases in UTC, {compared:,} at DST, allowed: {dict(met)}")  # noqa: T201 - the figure is the point
