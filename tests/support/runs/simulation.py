"""A month in a minute: thousands of jobs, daemons that die, people who edit, clocks that are set; only time is virtual.

Planning, claiming, settling, disabling and auditing are the real ones over a real state database. What an export would
have come to is drawn by lot, and so is what goes wrong; the seed gives the same month again.
"""

import gc
import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from exporter.failures import FailureKind
from exporter.report import ExportReport
from scheduler.config.build import parse
from scheduler.daemon.plan_cache import Planning
from scheduler.daemon.tick import make_room, tick
from scheduler.errors.operation_error import OperationError
from scheduler.jobs.definition import Job, parse_job
from scheduler.operations import jobs as operations
from scheduler.outcomes.outcome import Conclusion, Failure, Outcome
from scheduler.outcomes.policy import Policies
from scheduler.runs.cancellation import RunControl
from scheduler.runs.context import RunWork
from scheduler.runs.settle import settle
from storage.database import Database
from storage.jobs import jobs
from storage.jobs.jobs import put_jobs
from storage.runs import runs
from storage.runs.runs import StoredRun

START = datetime(2026, 10, 17, 0, 0, tzinfo=UTC)
"""30 days from here hold the ends of summer time in Europe (25 October) and in North America (1 November)."""
LEASE = 30.0
WORKERS = 400
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Tokyo")
CONFIG = parse('[notify]\non = ["failed", "disabled", "recovered"]\n')


def is_hopeless(name: str) -> bool:
    """Whether each run of the job fails for a reason that only a person can mend."""
    return int(name[-5:]) % 100 == 1


class Crash(Exception):  # noqa: N818 - what it says
    """The daemon died here."""


@dataclass(kw_only=True)
class Figures:
    """What happened."""

    fired: int = 0
    settled: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)


class Daemon:
    """What a daemon holds in memory: its plan, and the runs in its hands."""

    def __init__(self, name: str, database: Database) -> None:
        self.name = name
        self.jobs = Planning(database)
        self.in_hand: dict[int, StoredRun] = {}


class Simulation:
    """``days`` days of ``count`` jobs."""

    def __init__(self, database: Database, directory: Path, *, count: int, days: int, seed: int) -> None:
        self.database = database
        self.directory = directory
        self.lot = random.Random(seed)
        self.now = START
        self.end = START + timedelta(days=days)
        self.count = count
        self.days = days
        self.figures = Figures()
        self.daemon: Daemon | None = None
        self.daemons = 0
        self.untouched: dict[str, Job] = {}
        """Jobs that nobody edits, disables or makes fail for good: what they owe can be told without their history."""
        self.parents: set[str] = set()
        """Jobs that others run after."""
        self._gone: list[tuple[str, list[str]]] = []
        self._is_over = False
        self._events: list[tuple[datetime, int, Callable[[], None]]] = []
        self._ends: list[tuple[datetime, int]] = []

    def run(self) -> None:
        """Let the time pass, and then all that is left come to its end."""
        self._found()
        gc.freeze()  # thousands of jobs that stay are not looked through again and again
        self._plan_events()
        self._start()
        while self.now < self.end:
            self._step()
        self._start()
        for _ in range(2):  # it may have ended in a downtime, and the first look may crash
            self._turn()
        self._is_over = True
        for _ in range(1000):
            with self.database.read() as session:
                left = runs.count_unfinished(session)
            if not left.waiting and not left.running:
                return
            self._turn()
            self._advance(self.now + timedelta(minutes=10))
        raise AssertionError(f"still waiting or running: {left}")

    # ---- jobs

    def _found(self) -> None:
        """Store the jobs, many in a transaction."""
        made = [self._job(f"job-{number:05}") for number in range(self.count)]
        for at in range(0, len(made), 1000):
            definitions = {job.name: job.to_dict() for job in made[at : at + 1000]}
            with self.database.write() as session:
                put_jobs(session, origin="cli", definitions=definitions, now=self.now)
        for number in range(self.count // 75):
            self._follow(number)
        # Every tenth is left alone by people and always succeeds.
        self.untouched = {job.name: job for job in made if int(job.name[-5:]) % 10 == 0}

    def _follow(self, number: int) -> None:
        """Add a daily job, one that runs after it, and one that runs after both."""
        parent, name = f"first-{number:05}", f"after-{number:05}"
        operations.add_job(self.database, self._job(parent, cron=f"0 {self.lot.randrange(24)} * * *"), self.now)
        operations.add_job(self.database, self._job(name, cron="", after=[parent]), self.now)
        operations.add_job(self.database, self._job(f"then-{number:05}", cron="", after=[parent, name]), self.now)
        self.parents |= {parent, name}

    def _job(self, name: str, **keys: Any) -> Job:
        table: dict[str, Any] = {
            "cron": f"0 {self.lot.randrange(24)} * * *" if is_hopeless(name) else self._cron(),
            "timezone": self.lot.choice(ZONES),
            "source": "a",
            "query": f"select '{self.lot.randrange(50)}'",
            "export": {"connection": "b"},
            "catch_up": self.lot.choice(("latest", "latest", "all", "none")),
            "overlap": self.lot.choice(("queue", "queue", "skip", "allow")),
            "retry_limit": 2,
            **({"delay": self.lot.choice((600, 7200, 100_000))} if self.lot.random() < 0.1 else {}),
            **keys,
        }
        return parse_job(name, table, connections={"a": "duckdb", "b": "file"})

    def _cron(self) -> str:
        """Most jobs run once a month or more rarely: 30 days of 10,000 jobs are to pass in a minute."""
        hour, day, month = self.lot.randrange(24), self.lot.randrange(1, 32), self.lot.randrange(1, 13)
        weekday = self.lot.choice(("mon", "tue", "fri", "sat", "sun"))
        forms = {
            f"0 {hour} {day} {month} *": 80,
            f"0 {hour} {day} * *": 17,
            f"0 {hour} * * {weekday}": 2,
            f"0 {hour} 1,15 * {weekday}": 0.4,
            f"0 {hour} * * *": 0.2,
            "0 */6 * * *": 0.03,
            "0 */2 * * *": 0.03,
        }
        return self.lot.choices(list(forms), list(forms.values()))[0]

    # ---- what happens

    def _plan_events(self) -> None:
        kinds: list[tuple[Callable[[], None], int]] = [
            (self._kill, self.days // 5),
            (self._downtime, self.days // 6 + 1),
            (self._clock_back, self.days // 6 + 1),
            (self._clock_forward, self.days // 6 + 1),
            (self._edit, self.count // 50),
            (self._pause, self.count // 100),
            (self._remove, self.count // 100),
            (self._add, self.count // 100),
        ]
        span = (self.end - START).total_seconds()
        for number, (event, times) in enumerate(kinds):
            for _ in range(times):
                at = START + timedelta(seconds=self.lot.uniform(0, span))
                heapq.heappush(self._events, (at, number * 10**6 + len(self._events), event))

    def _kill(self) -> None:
        """Kill the daemon between two transactions; another starts."""
        self.figures.faults["kill"] += 1
        self._stop()
        self._start()

    def _downtime(self) -> None:
        self.figures.faults["downtime"] += 1
        self._stop()
        self._at(self.now + timedelta(hours=self.lot.choice((1, 5, 30))), self._start)

    def _clock_back(self) -> None:
        self.figures.faults["clock back"] += 1
        self.now -= timedelta(minutes=self.lot.choice((1, 60, 600)))

    def _clock_forward(self) -> None:
        self.figures.faults["clock forward"] += 1
        self.now += timedelta(minutes=self.lot.choice((1, 60, 600)))

    def _edit(self) -> None:
        for name in self._some_job():
            with self.database.read() as session:
                stored = jobs.get_job(session, name)
            if stored is not None:
                self.figures.faults["edit"] += 1
                keys: dict[str, Any] = {}
                if stored.definition["after"] and self.lot.random() < 0.7:  # else it gets a cron
                    keys = {"cron": "", "after": stored.definition["after"]}
                elif self.lot.random() < 0.5:  # another query only
                    keys = {key: stored.definition[key] for key in ("cron", "timezone", "delay")}
                operations.replace_job(self.database, self._job(name, **keys), self.now, revision=stored.revision)

    def _pause(self) -> None:
        for name in self._some_job():
            self.figures.faults["pause"] += 1
            operations.disable_job(self.database, name, "a pause", self.now)
            back = self.now + timedelta(hours=self.lot.uniform(1, 100))
            self._at(back, partial(self._enable, name))

    def _enable(self, name: str) -> None:
        operations.enable_job(self.database, name, self.now)

    def _remove(self) -> None:
        for name in self._some_job():
            with self.database.read() as session:
                stored = jobs.get_job(session, name)
            with suppress(OperationError):  # others run after it
                if stored is not None and operations.remove_job(self.database, name, self.now) is not None:
                    self.figures.faults["remove"] += 1
                    self._gone.append((name, stored.definition["after"]))

    def _add(self) -> None:
        if self._gone and self.lot.random() < 0.5:  # its state comes back with it
            self.figures.faults["add again"] += 1
            name, after = self._gone.pop()
            again = self._job(name, cron="", after=after) if after else self._job(name)
            with suppress(OperationError):  # what it ran after is gone too
                operations.add_job(self.database, again, self.now)
            return
        self.figures.faults["add"] += 1
        operations.add_job(self.database, self._job(f"new-{self.figures.faults['add']:05}"), self.now)

    def _some_job(self) -> Iterator[str]:
        name = f"job-{self.lot.randrange(self.count):05}"
        if self.lot.random() < 0.3:
            name = f"{self.lot.choice(('first', 'after', 'then'))}-{self.lot.randrange(self.count // 75):05}"
        if name not in self.untouched:
            yield name

    def _at(self, when: datetime, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, 10**9 + self.lot.randrange(10**9), event))

    # ---- the daemon

    def _start(self) -> None:
        if self.daemon is None:
            self.daemons += 1
            self.daemon = Daemon(f"daemon-{self.daemons}", self.database)

    def _stop(self) -> None:
        """End the daemon as kill -9 does: what it held in memory is gone, what it claimed stays claimed."""
        self.daemon = None
        self._ends.clear()

    def _step(self) -> None:
        """Go to the next thing that happens, and let it happen."""
        due = self._next()
        self._advance(min(due, self.end))
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()
        self._turn()

    def _advance(self, to: datetime) -> None:
        self.now = max(self.now, to)

    def _next(self) -> datetime:
        times = [self.end]
        if self._events:
            times.append(self._events[0][0])
        if self.daemon is not None:
            wakeup = self.daemon.jobs.plan.next_wakeup()
            times += [datetime.fromtimestamp(wakeup, UTC)] if wakeup is not None else []
            times += [self._ends[0][0]] if self._ends else []
            waiting = None
            if len(self.daemon.in_hand) < WORKERS:
                with self.database.read() as session:
                    waiting = runs.next_waiting_time(session)
            times += [max(waiting, self.now)] if waiting is not None else []
        return max(min(times), self.now) + timedelta(seconds=1)

    def _turn(self) -> None:
        """Do what the daemon's chores do once; a database that refuses or a crash ends the turn in the middle."""
        daemon = self.daemon
        if daemon is None:
            return
        try:
            self._end_runs(daemon)
            self._keep(daemon)
            self._may_crash("crash before the tick")
            daemon.jobs.read()
            if not self._is_over:
                self.figures.fired += tick(self.database, daemon.jobs.plan, daemon.jobs.definitions, self.now)
            self._may_crash("crash before the claims")
            self._claim(daemon)
        except Crash:
            self._stop()
            self._start()

    def _may_crash(self, what: str) -> None:
        if self.lot.random() < 0.001:
            self.figures.faults[what] += 1
            raise Crash

    def _keep(self, daemon: Daemon) -> None:
        longest = timedelta(seconds=2 * LEASE)
        with self.database.write() as session:
            runs.renew_claims(session, owner=daemon.name, now=self.now, lease_seconds=LEASE)
            gone = [run.id for run in runs.expired_claims(session, now=self.now, longest=longest)]
            if gone:
                self.figures.faults["claim taken back"] += runs.take_back(session, gone, now=self.now, longest=longest)

    def _claim(self, daemon: Daemon) -> None:
        with self.database.write() as session:
            make_room(session, daemon.jobs.definitions, self.now)
            free = WORKERS - len(daemon.in_hand)
            claimed = runs.claim_runs(session, owner=daemon.name, now=self.now, lease_seconds=LEASE, limit=free)
        for run in claimed:
            daemon.in_hand[run.id] = run
            takes = timedelta(seconds=self.lot.choice((3600, 3600, 7200)))
            heapq.heappush(self._ends, (self.now + takes, run.id))

    def _end_runs(self, daemon: Daemon) -> None:
        while self._ends and self._ends[0][0] <= self.now:
            run = daemon.in_hand.pop(heapq.heappop(self._ends)[1])
            work = RunWork(
                database=self.database,
                config=CONFIG,
                run=run,
                spool_root=self.directory,
                control=RunControl(timeout=3600),
                clock=lambda: self.now,
            )
            conclusion = self._conclusion(run)
            settle(work, conclusion, Policies(retry_limit=2))
            self.figures.settled += 1
            self.figures.outcomes[conclusion.outcome.value] += 1

    def _conclusion(self, run: StoredRun) -> Conclusion:
        if run.job in self.untouched:
            return Conclusion(outcome=Outcome.SUCCEEDED, report=ExportReport(read=1, accepted=1))
        hopeless = is_hopeless(run.job)
        drawn = (
            "configuration"
            if hopeless
            else self.lot.choices(("succeeded", "configuration", "transient", "data", "internal"), (80, 3, 12, 4, 1))[0]
        )
        if drawn == "succeeded":
            return Conclusion(outcome=Outcome.SUCCEEDED, report=ExportReport(read=1, accepted=1))
        failure = Failure(kind=FailureKind(drawn), code="DRAWN", message="drawn by lot")
        return Conclusion(outcome=Outcome.FAILED, failure=failure)
