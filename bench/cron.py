"""Measure the cron engine beside croniter and cronsim, in one process, and fail if a target is missed.

Times vary with the machine, ratios hardly; so most targets are ratios. ``--write-docs`` writes docs/benchmarks-cron.md.
"""

import argparse
import gc
import os
import platform
import random
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from scheduler.planning.forecast import Expected, forecast
from scheduler.schedules import cron_fields
from scheduler.schedules import expression as dialect
from scheduler.schedules.expression import parse
from scheduler.schedules.schedule import Schedule, make_schedule

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks-cron.md"
START = datetime(2026, 11, 23, 12, 34, tzinfo=UTC)
NEW_YORK = "America/New_York"
ROUNDS = 5
LOADED = 100_000
SETS = {
    "dense": ["* * * * *", "*/5 * * * *", "0 * * * *", "*/15 8-18 * * *", "0,30 * * * *", "7-59/10 * * * *"],
    "middle": [
        "0 3 * * mon-fri",
        "30 2 * * *",
        "0 0 * * 0",
        "15 14 1 * *",
        "0 22 * * 1-5",
        "5 0 * 8 *",
        "0 9-17 * * 1-5",
        "0 0,12 1 1,7 *",
        "45 23 10-20 * *",
        "0 6,18 * * sat,sun",
    ],
    "both days (OR)": [
        "0 0 1 * 1",
        "0 12 1,15 * 5",
        "30 4 1,15 * 5",
        "0 0 13 * 5",
        "0 6 10-20 1-6 2,4",
        "15 1 31 * 0",
        "0 0,8,16 1-7 * 3",
        "59 23 28-31 * 6",
    ],
    "sparse": [
        "0 0 29 2 *",
        "0 0 31 * *",
        "0 0 1 1 *",
        "59 23 31 12 *",
        "0 0 30 4,6 *",
        "0 12 4 7 *",
        "30 3 1 1,4,7,10 *",
    ],
}
ZONES = ("UTC", NEW_YORK, "Europe/Berlin", "Asia/Tokyo", "Australia/Sydney", "America/Sao_Paulo", "Asia/Kolkata")


@dataclass
class Report:
    """The tables so far, and the targets that were missed."""

    lines: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def put(self, line: str = "") -> None:
        """Print a line and keep it for the docs page."""
        print(line, flush=True)
        self.lines.append(line)

    def target(self, what: str, *, met: bool) -> str:
        """Return the mark for a table, and remember a target that was missed."""
        if not met:
            self.missed.append(what)
        return "met" if met else "**missed**"


def best(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the processor seconds of the best of some rounds: the one that other programs disturbed least."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times)


def step_ours(schedule: Schedule, start: datetime, count: int) -> None:
    """Ask for the next fire of the last, as a daemon does."""
    for _ in range(count):
        fire = schedule.next_after(start)
        assert fire is not None  # noqa: S101 - every set fires for centuries
        start = fire.scheduled_time


def step_croniter(text: str, start: datetime, count: int) -> None:
    """Ask one iterator again and again; making it is not in the figure of the first."""
    iterator = croniter(text, start)
    for _ in range(count):
        iterator.get_next(datetime)


def step_cronsim(text: str, start: datetime, count: int) -> None:
    """Ask one iterator again and again."""
    iterator = CronSim(text, start)
    for _ in range(count):
        next(iterator)


def next_fires(report: Report) -> None:
    """Measure the next fire over each set, in UTC and in New York."""
    number = sum(map(len, SETS.values()))
    report.put(f"## Next fire, microseconds ({number} expressions, aware datetimes in and out)")
    report.put()
    report.put("| zone | set | schedctl | croniter | cronsim | x croniter | x cronsim | target | |")
    report.put("|---|---|---|---|---|---|---|---|---|")
    for timezone in ("UTC", NEW_YORK):
        start = START.astimezone(ZoneInfo(timezone))
        for name, texts in SETS.items():
            count = 40 if name == "sparse" else 200
            ours = theirs = others = 0.0
            for text in texts:
                schedule = make_schedule(text, timezone=timezone)
                ours += best(lambda s=schedule, n=count: step_ours(s, START, n)) / count
                theirs += best(lambda t=text, n=count, a=start: step_croniter(t, a, n)) / count
                others += best(lambda t=text, n=count, a=start: step_cronsim(t, a, n)) / count
            by_croniter, by_cronsim = theirs / ours, others / ours
            strict = name in ("middle", "both days (OR)")
            target = "20 x and 8 x" if strict else "5 x"
            met = by_croniter >= 20 and by_cronsim >= 8 if strict else by_croniter >= 5
            mark = report.target(f"next fire, {timezone} {name}: {target}", met=met)
            micro = [f"{seconds / len(texts) * 1e6:.1f}" for seconds in (ours, theirs, others)]
            cells = [timezone, name, *micro, f"{by_croniter:.0f}", f"{by_cronsim:.0f}", target, mark]
            report.put(f"| {' | '.join(cells)} |")
    report.put()


def year(report: Report) -> None:
    """Measure a whole year of one busy schedule, in its three forms."""
    text, end = "*/5 * * * *", START + timedelta(days=365)
    schedule = make_schedule(text, timezone=NEW_YORK)
    low, high = int(START.timestamp()), int(end.timestamp())
    fires = schedule.count(START, end)
    theirs = best(lambda: step_croniter(text, START.astimezone(ZoneInfo(NEW_YORK)), fires), 1)
    report.put(f"## A year of `{text}` in {NEW_YORK}: {fires:,} fires, milliseconds")
    report.put()
    report.put(
        "A FireTime holds two times, the slot and the run's, where croniter makes one. `between` makes each as it"
    )
    report.put("is taken; the line where all are taken has the time as its target.")
    report.put()
    report.put("| form | ms | x croniter | target | |")
    report.put("|---|---|---|---|---|")
    report.put(f"| croniter, one by one | {theirs * 1e3:,.0f} | 1 | | |")
    forms: list[tuple[str, Callable[[], object], int]] = [
        ("Unix seconds (`epochs_between`)", lambda: schedule.epochs_between(low, high), 200),
        ("datetimes (`slots_between`)", lambda: schedule.slots_between(START, end), 200),
        ("FireTimes (`between`)", lambda: schedule.between(START, end), 200),
        ("FireTimes, all taken", lambda: deque(schedule.between(START, end), maxlen=0), 0),
        ("counted (`count`)", lambda: schedule.count(START, end), 200),
    ]
    for name, call, ratio in forms:
        seconds = best(call)
        mark = report.target(f"a year, {name}", met=theirs / seconds >= ratio and seconds <= 0.025)
        target = f"{ratio} x, 25 ms" if ratio else "25 ms"
        report.put(f"| {name} | {seconds * 1e3:,.2f} | {theirs / seconds:,.0f} | {target} | {mark} |")
    report.put()


def random_texts(rng: random.Random) -> Iterator[str]:
    """Yield distinct expressions such as people write, in the part of the dialect that all libraries share."""
    seen: set[str] = set()
    while True:
        minute = rng.choice(["0", str(rng.randint(0, 59)), f"*/{rng.choice((5, 10, 15))}", f"{rng.randint(0, 59)},59"])
        low = rng.randint(0, 20)
        hour = rng.choice(["*", str(rng.randint(0, 23)), f"{low}-{low + 3}", f"{low},{low + 2}", "*/2"])
        day = rng.choice(["*", "*", str(rng.randint(1, 28)), f"{rng.randint(1, 14)},{rng.randint(15, 28)}"])
        month = rng.choice(["*", "*", "*", str(rng.randint(1, 12)), "1,4,7,10"])
        weekday = rng.choice(["*", "*", "1-5", str(rng.randint(0, 6)), "sat,sun"])
        text = f"{minute} {hour} {day} {month} {weekday}"
        if text not in seen:
            seen.add(text)
            yield text


def parsing(report: Report) -> None:
    """Measure parsing, with nothing remembered from before and with the fields known."""
    source = random_texts(random.Random(1))
    texts = [next(source) for _ in range(3_000)]

    def ours() -> None:
        for text in texts:
            parse(text)

    def cold() -> None:
        cron_fields.expand.cache_clear()
        dialect._dates.cache_clear()  # noqa: SLF001 - as if the process were new
        ours()

    other = best(lambda: [CronSim(text, START) for text in texts])
    theirs = best(lambda: [croniter(text, START) for text in texts], 2)
    report.put("## Parsing 3,000 distinct expressions, per second")
    report.put()
    report.put("| | per second | x cronsim | target | |")
    report.put("|---|---|---|---|---|")
    report.put(f"| croniter | {len(texts) / theirs:,.0f} | {other / theirs:.1f} | | |")
    report.put(f"| cronsim | {len(texts) / other:,.0f} | 1.0 | | |")
    for name, call in (("schedctl, nothing known", cold), ("schedctl, fields known", ours)):
        seconds = best(call)
        mark = report.target(f"parse, {name}", met=seconds <= other)
        report.put(f"| {name} | {len(texts) / seconds:,.0f} | {other / seconds:.1f} | 1 x | {mark} |")
    report.put()


def resident() -> int:
    """Return this process's resident memory in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def load_in_this_process() -> None:
    """Load distinct schedules, ask each for its next fire, and print seconds and bytes each."""
    source = random_texts(random.Random(2))
    texts = [(next(source), ZONES[number % len(ZONES)]) for number in range(LOADED)]
    make_schedule("0 0 * * *").next_after(START)
    gc.collect()
    before, begin = resident(), time.process_time()
    schedules = [make_schedule(text, timezone=timezone) for text, timezone in texts]
    coming = [schedule.next_epoch(int(START.timestamp())) for schedule in schedules]
    seconds = time.process_time() - begin
    gc.collect()
    print(seconds, (resident() - before) / len(coming))


def loading(report: Report) -> None:
    """Measure loading in a new process, whose memory is its own."""
    command = [sys.executable, __file__, "--load"]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(2)]
    seconds, size = min(float(run[0]) for run in runs), min(float(run[1]) for run in runs)
    report.put(f"## Loading {LOADED:,} distinct schedules in {len(ZONES)} zones, with the next fire of each")
    report.put()
    report.put("| | measured | target | |")
    report.put("|---|---|---|---|")
    report.put(f"| seconds | {seconds:.2f} | 5 | {report.target('load: 5 s', met=seconds < 5)} |")
    report.put(f"| bytes each | {size:,.0f} | 1,024 | {report.target('load: 1 KB each', met=size < 1024)} |")
    report.put()


def forecasting(report: Report) -> None:
    """Measure the forecast of many mixed jobs over a plain week and one with a change of the clock."""
    source = random_texts(random.Random(3))
    schedules = [make_schedule(next(source), timezone=ZONES[number % len(ZONES)]) for number in range(10_000)]
    jobs = [Expected(name=str(number), schedule=schedule) for number, schedule in enumerate(schedules)]
    report.put("## Forecast of 10,000 mixed jobs over 7 days")
    report.put()
    report.put("| week | runs | seconds | target | |")
    report.put("|---|---|---|---|---|")
    for name, start in (("plain", START), ("New York's clock changes", datetime(2027, 3, 11, tzinfo=UTC))):
        found = forecast(jobs, start=start, days=7)
        seconds = best(lambda at=start: forecast(jobs, start=at, days=7), 2)
        mark = report.target(f"forecast, {name}: 2 s", met=seconds < 2)
        report.put(f"| {name} | {sum(found.hours):,} | {seconds:.2f} | 2 | {mark} |")
    report.put()


def main() -> int:
    """Run every measurement; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help=f"write the tables to docs/{DOCS.name}")
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load_in_this_process()
        return 0
    warnings.simplefilter("ignore")  # croniter warns of its own future
    report = Report()
    report.put("# The cron engine beside croniter and cronsim")
    report.put()
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    report.put(f"Written by `python bench/cron.py --write-docs`: {machine}, croniter {version('croniter')},")
    report.put(f"cronsim {version('cronsim')}; one process, processor time, best of {ROUNDS} rounds.")
    report.put("Both libraries are timed on an iterator that is already made, which is when they are quickest.")
    report.put("Times are this machine's; the ratios are what to look at.")
    report.put()
    for measure in (next_fires, year, parsing, loading, forecasting):
        measure(report)
    if arguments.write_docs:
        DOCS.write_text("\n".join(report.lines).rstrip() + "\n", encoding="utf-8")
    for what in report.missed:
        print(f"missed: {what}", file=sys.stderr)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
