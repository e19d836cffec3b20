"""10,000 jobs due in the same minute: the installed daemon beside plain APScheduler, the same work in the same run.

Each job selects one row and writes it to a CSV file of its own. Prints how late the slots were stored and the runs
started, and how long `schedctl status` took meanwhile; exits 1 if a run is missing, doubled or out of order, or if
`status` took a second or more. Usage: dispatch.py [--write-docs] [JOBS]
"""

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks-dispatch.md"
SCHEDCTL = Path(sys.executable).with_name("schedctl")
WORKERS = 4
STATUS_SECONDS = 1.0
DEADLINE = 3600
HEAD = f"""
[daemon]
max_running = {WORKERS}
[storage]
url = "sqlite:///state.db"
[connections.warehouse]
type = "duckdb"
[connections.files]
type = "file"
directory = "out"
"""
JOB = """
[jobs.job{number:05}]
cron = "{minute} {hour} * * *"
source = "warehouse"
query = "select {number} as a"
export = {{ connection = "files" }}
"""
PLAIN = """
import json, os, sys, threading, time
from datetime import datetime, timedelta, UTC
from pathlib import Path
import duckdb
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

count, workers, grace, directory = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), Path(sys.argv[4])
late, done, lock = [], threading.Event(), threading.Lock()
slot = datetime.now(UTC) + timedelta(seconds=20 + count / 500)
over = 0

def work(number):
    started = time.time()
    path = directory / f"{number}.csv"
    with duckdb.connect() as connection:
        connection.execute(f"copy (select {number} as a) to '{path}' (header)")
    with path.open("rb") as written:
        os.fsync(written.fileno())
    with lock:
        late.append(started - slot.timestamp())

def ended(event):
    global over
    with lock:
        over += 1
        if over == count:
            done.set()

defaults = {} if grace == "default" else {"misfire_grace_time": grace}
scheduler = BackgroundScheduler(
    executors={"default": ThreadPoolExecutor(workers)}, job_defaults=defaults, timezone=UTC
)
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
scheduler.add_listener(ended, EVENT_JOB_ERROR | EVENT_JOB_EXECUTED | EVENT_JOB_MISSED)
for number in range(count):
    scheduler.add_job(work, "date", run_date=slot, args=[number])
scheduler.start()
done.wait(3600)
json.dump(sorted(late), sys.stdout)
"""
"""Plain APScheduler: one date trigger per job, memory store, a pool of threads; argv: jobs, threads, grace, where."""


def plain(count: int, grace: object) -> list[float]:
    """Return how late, in seconds, each job of plain APScheduler began; one that it dropped is not there."""
    with tempfile.TemporaryDirectory(prefix="schedctl-bench-") as directory:
        words = [sys.executable, "-c", PLAIN, str(count), str(WORKERS), json.dumps(grace), directory]
        # What it says of each job that it drops is not looked at: the count tells it.
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return list(json.loads(done.stdout))


class Served:
    """What the daemon did with one burst."""

    def __init__(self, count: int) -> None:
        self.status: list[float] = []
        with tempfile.TemporaryDirectory(prefix="schedctl-bench-") as name:
            directory = Path(name)
            self._serve(directory, count)
            rows = sqlite3.connect(directory / "state.db").execute(
                "select job, scheduled_time, started_at, outcome, id from run order by started_at, id"
            )
            self._look(rows.fetchall(), directory / "log", count)

    def _serve(self, directory: Path, count: int) -> None:
        # The file is read, checked and stored before the minute comes: some 3 ms for each job.
        slot = (datetime.now(UTC) + timedelta(seconds=45 + count / 150)).replace(second=0, microsecond=0)
        slot += timedelta(minutes=1)
        jobs = [JOB.format(number=number, minute=slot.minute, hour=slot.hour) for number in range(count)]
        (directory / "config.toml").write_text(HEAD + "".join(jobs), encoding="utf-8")
        environment = {
            **os.environ,
            "SCHEDCTL_CONFIG": str(directory / "config.toml"),
            "XDG_STATE_HOME": str(directory),
        }
        with (directory / "log").open("w") as log:
            daemon = subprocess.Popen([SCHEDCTL, "daemon"], env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + DEADLINE
            while time.time() < slot.timestamp() + 1:
                time.sleep(0.2)
            while not self._is_over(directory, count) and time.monotonic() < deadline:
                start = time.perf_counter()
                subprocess.run([SCHEDCTL, "status"], env=environment, capture_output=True, check=False)
                self.status.append(time.perf_counter() - start)
                time.sleep(1)
        finally:
            daemon.terminate()
            daemon.wait()

    @staticmethod
    def _is_over(directory: Path, count: int) -> bool:
        connection = sqlite3.connect(f"file:{directory / 'state.db'}?mode=ro", uri=True)
        try:
            query = "select count(*) from run where state = 'finished'"
            return bool(connection.execute(query).fetchone()[0] >= count)
        finally:
            connection.close()

    def _look(self, rows: Sequence[tuple[str, str, str, str, int]], log: Path, count: int) -> None:
        self.whole = len(rows) == len({row[0] for row in rows}) == count and {row[3] for row in rows} == {"succeeded"}
        self.in_order = [row[4] for row in rows] == sorted(row[4] for row in rows)
        self.started = [seconds_between(slot, started) for _job, slot, started, _outcome, _number in rows]
        told = map(json.loads, log.read_text(encoding="utf-8").splitlines())
        fired = [event for event in told if event["event"] == "slot.fired"]  # said once the row is committed
        self.stored = [seconds_between(event["scheduled_time"], event["timestamp"]) for event in fired]


def seconds_between(slot: str, then: str) -> float:
    """Return how long after a slot something was, both as ISO 8601."""
    return (datetime.fromisoformat(then) - datetime.fromisoformat(slot)).total_seconds()


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value that ``part`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def row(name: str, late: Sequence[float], count: int) -> str:
    """Return one line of the table."""
    figures = " | ".join(f"{percentile(late, part):.2f}" for part in (0.5, 0.99, 1.0))
    return f"| {name} | {len(late):,} of {count:,} | {figures} |"


def main() -> int:
    """Measure all of them one after the other; return 1 if a promise did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help=f"write the table to docs/{DOCS.name}")
    parser.add_argument("jobs", type=int, nargs="?", default=10_000)
    arguments = parser.parse_args()
    count = arguments.jobs
    served = Served(count)
    worst = max(served.status, default=float("nan"))
    lines = [
        "# Many jobs due in the same minute",
        "",
        f"Written by `python bench/dispatch.py --write-docs`: {count:,} jobs, {WORKERS} workers, each selects a row",
        f"and writes a CSV file; Python {platform.python_version()}, {os.cpu_count()} cores, state in SQLite. Seconds",
        "after the slot. schedctl stores every slot before it starts any run, and each run has its claim, spool and",
        "outcome on disk; plain APScheduler keeps nothing, and with its defaults drops what is a second late.",
        "",
        "| what | jobs | p50 | p99 | last |",
        "|---|---:|---:|---:|---:|",
        row("schedctl: slot stored", served.stored, count),
        row("schedctl: run started", served.started, count),
        row("APScheduler, `misfire_grace_time = None`: function started", plain(count, None), count),
        row("APScheduler, its defaults: function started", plain(count, "default"), count),
        "",
        f"`schedctl status` during the burst: {len(served.status)} calls,",
        f"median {percentile(served.status, 0.5):.2f} s, slowest {worst:.2f} s.",
        f"Runs claimed in the order in which they were due: {'yes' if served.in_order else 'no'}.",
        f"Each job ran exactly once: {'yes' if served.whole else 'no'}.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write_docs:
        DOCS.write_text(text, encoding="utf-8")
    return 0 if served.whole and served.in_order and worst < STATUS_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
