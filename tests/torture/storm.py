"""Daemons that export while everything goes wrong around them, and what has to be true when the storm is over.

The daemons are the installed ones; the driver kills them, stops them past their claims, restarts the database, breaks
connections, fills the disk (as far as they can see) and edits their config, by a seed. Every row says which job, slot
and number it is, so that the driver can count for itself what was lost and what came twice.
"""

import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.commands.command import SCHEDCTL, Command
from support.databases import postgres
from support.loopback.receivers import WebHook

from exporter.emulator.fault_injection import CallFault
from exporter.emulator.server import Emulator
from storage.database import StorageError, open_database
from storage.runs import runs
from storage.runs.runs import StoredRun

TEXT = {"type": "string", "length": 40}
NUMBER = {"type": "double", "precision": 14, "scale": 0}
SCHEMA = {
    "objects": {
        "Row__c": {"label": "Row", "fields": {"Job__c": TEXT, "Slot__c": NUMBER, "Number__c": NUMBER}},
        "Item__c": {
            "label": "Item",
            "fields": {"Key__c": {**TEXT, "external_id": True, "unique": True}, "Slot__c": NUMBER},
        },
    }
}
ROWS = 60
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
"""Backfills are of slots from here on, which no schedule fires."""
HEAD = """
[daemon]
max_running = 4
drain_timeout = "5s"
[storage]
url = "{url}"
min_free = {min_free}
[notify]
urls = ["{hook}"]
on = ["disabled"]
[defaults]
catch_up = "all"
retry_limit = 100
initial_retry_delay = "1s"
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "{org}"
client_id = "emulator"
client_secret = {{ env = "CRM_SECRET" }}
retry_limit = 3
initial_retry_delay = "1s"
"""
APPEND = """
[jobs.{name}]
cron = "{cron}"
timeout = "{timeout}h"
source = "warehouse"
query = '''select '{name}' as "Job__c", TD_SCHEDULED_TIME() as "Slot__c", i as "Number__c" from range({rows}) as n(i)'''
export = {{ connection = "crm", object = "Row__c", batch_size = 20 }}
"""
UPSERT = """
[jobs.{name}]
cron = "{cron}"
source = "warehouse"
query = '''select '{name}-' || i as "Key__c", TD_SCHEDULED_TIME() as "Slot__c" from range({rows}) as n(i)'''
[jobs.{name}.export]
connection = "crm"
object = "Item__c"
mode = "update"
key = "Key__c"
upsert = true
batch_size = 20
"""
HOPELESS = """
[jobs.hopeless]
cron = "{cron}"
source = "warehouse"
query = "select 1 as a"
export = {{ connection = "crm", object = "Nothing__c" }}
"""


@dataclass(kw_only=True)
class Figures:
    """What the storm was and what it left."""

    seed: int
    storage: str
    daemons: int
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    slots: int = 0
    runs: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0

    def __str__(self) -> str:
        """Say it in one line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        return (
            f"seed {self.seed}, {self.storage}, {self.daemons} daemons, {self.seconds:.0f} s: {self.slots} slots, "
            f"{self.runs} runs, {self.rows} rows, {self.faults.total()} faults ({kinds}); lost {self.lost}, "
            f"doubled {self.doubled}"
        )


class Storm:
    """One storm over one state database; ``server`` is the PostgreSQL server's directory, if it is on that."""

    def __init__(
        self, command: Command, org: Emulator, hook: WebHook, *, url: str, server: Path | None, daemons: int, seed: int
    ) -> None:
        self.command = command
        self.org = org
        self.hook = hook
        self.url = url
        self.server = server
        self.lot = random.Random(seed)
        self.figures = Figures(seed=seed, storage="PostgreSQL" if server else "SQLite", daemons=daemons)
        self.daemons: list[subprocess.Popen[bytes] | None] = [None] * daemons
        self.log = command.directory / "daemons.log"
        self.names = [f"append{number}" for number in range(6)]
        self.timeouts = dict.fromkeys(self.names, 1)
        self.backfilled = 0
        self.cron, self.min_free, self.broken = "* * * * *", 0, ""
        command.environment["CRM_SECRET"] = "secret"

    # ---- the storm

    def rage(self, *, faults: int, seconds: float) -> None:
        """Do at least so many faults, for at least so long; then let all come to rest."""
        began = time.monotonic()
        self.configure()
        self.start()
        while self.figures.faults.total() < faults or time.monotonic() - began < seconds:
            self.lot.choice(self._kinds())()
            time.sleep(self.lot.uniform(0.1, 1.5))
            self.start()
        self.rest()
        self.figures.seconds = time.monotonic() - began

    def _kinds(self) -> list[Callable[[], None]]:
        kinds = [self.kill, self.kill, self.stop_a_while, self.disturb, self.disturb, self.edit, self.break_config]
        kinds += [self.fill_the_disk, self.backfill, self.backfill, self.terminate]
        return kinds + ([self.restart_postgresql] if self.server else [])

    def start(self) -> None:
        """Start each daemon that does not run, as systemd would."""
        for number, daemon in enumerate(self.daemons):
            if daemon is None or daemon.poll() is not None:
                with self.log.open("ab") as log:
                    self.daemons[number] = subprocess.Popen(
                        [SCHEDCTL, "daemon"],
                        env=self.command.environment,
                        cwd=self.command.directory,
                        stdout=log,
                        stderr=log,
                    )

    def kill(self) -> None:
        self._count("kill -9")
        daemon = self._one()
        daemon.kill()
        daemon.wait()

    def terminate(self) -> None:
        self._count("SIGTERM")
        daemon = self._one()
        daemon.terminate()
        daemon.wait(timeout=60)

    def stop_a_while(self) -> None:
        """Stop a daemon, now and then for longer than its claims hold, and let it go on."""
        self._count("SIGSTOP")
        daemon = self._one()
        daemon.send_signal(signal.SIGSTOP)
        time.sleep(33 if self.lot.random() < 0.08 else self.lot.uniform(0.2, 3))
        daemon.send_signal(signal.SIGCONT)

    def disturb(self) -> None:
        """Have one of the next calls to the org lost, cut, refused, or its session ended."""
        action = self.lot.choice(("drop_before", "drop_after", "truncate", "answer", "expire"))
        self._count(f"call {action}")
        self.org.faults.add(CallFault(pattern=" /services/", action=action, nth=(self.lot.randint(1, 6),)))  # type: ignore[arg-type]  # one of its words

    def edit(self) -> None:
        self._count("edit")
        self.timeouts[self.lot.choice(self.names)] += 1
        self.configure()

    def break_config(self) -> None:
        """Leave a config file that cannot be read for a while, then mend it."""
        self._count("broken config")
        self.broken = "\n[jobs.broken\n"
        self.configure()
        time.sleep(self.lot.uniform(0.5, 2.5))
        self.broken = ""
        self.configure()

    def fill_the_disk(self) -> None:
        """Ask for more free room than there is, for a while: no run may start, and those that go on may."""
        self._count("disk full")
        self.min_free = 10**15
        self.configure()
        time.sleep(self.lot.uniform(1, 4))
        self.min_free = 0
        self.configure()

    def restart_postgresql(self) -> None:
        self._count("PostgreSQL restart")
        assert self.server is not None
        postgres.restart(self.server)

    def backfill(self) -> None:
        """Ask for five slots of the past, each once."""
        self._count("backfill")
        name, count = self.lot.choice(self.names), 5
        begin = LONG_AGO + timedelta(minutes=self.backfilled)
        self.backfilled += count
        arguments = ["run", name, "--from", f"{begin:%Y-%m-%dT%H:%MZ}", "--count", str(count)]
        self._until(lambda: self.command(*arguments, code=None).code == 0, 60)

    def rest(self) -> None:
        """End the faults and the schedules, and wait until nothing waits or runs."""
        self.org.faults.clear()
        self.min_free, self.broken = 0, ""
        self.configure()
        self._until(lambda: self.start() or self.has_no_config_fault(), 120)
        self.cron = ""
        self.configure()
        self._until(lambda: self.start() or self._is_at_rest(), 400)

    def has_no_config_fault(self) -> bool:
        """Whether every daemon has read the mended file."""
        answer = self.command("status", "--json", code=None)
        codes = {problem["code"] for problem in answer.json.get("problems", [{"code": "no status"}])}
        return not codes & {"config", "no_daemon", "disk", "no status"}

    def end(self) -> None:
        """End every daemon."""
        for daemon in self.daemons:
            if daemon is not None and daemon.poll() is None:
                daemon.kill()
                daemon.wait()

    # ---- afterwards

    def check(self) -> None:
        """Count what is there against what was owed; fails at the first thing that is not as promised."""
        found = self._runs()
        audit = self.command("audit", "--json")
        assert audit.json["findings"] == [], audit.out
        self._check_slots(found)
        self._check_rows(found)
        self._check_items(found)
        self._check_disables(found)

    def _check_slots(self, found: list[StoredRun]) -> None:
        """Each minute from a job's first to its last slot has one final row; each slot of a backfill has one too."""
        assert {run.state for run in found} == {"finished"}
        for name in (*self.names, "upsert"):
            slots = sorted(run.scheduled_time for run in found if run.job == name and run.kind == "schedule")
            assert slots == [slots[0] + timedelta(minutes=number) for number in range(len(slots))], name
            self.figures.slots += len(slots)
        past = [run.scheduled_time for run in found if run.kind == "backfill"]
        assert sorted(past) == [LONG_AGO + timedelta(minutes=number) for number in range(self.backfilled)]
        self.figures.slots += len(past)
        self.figures.runs = len(found)

    def _check_rows(self, found: list[StoredRun]) -> None:
        """Every row of a run that succeeded is there once; of any other, as many as it says, none of them twice."""
        there: Counter[tuple[str, int, int]] = Counter(
            (record["Job__c"], int(float(record["Slot__c"])), int(float(record["Number__c"])))
            for record in self.org.org.records("Row__c")
        )
        self.figures.rows = there.total()
        self.figures.doubled = sum(count - 1 for count in there.values())
        by_slot: Counter[tuple[str, int]] = Counter((job, slot) for job, slot, _ in there)
        for run in (run for run in found if run.job in self.names):
            has = by_slot.pop((run.job, int(run.scheduled_time.timestamp())), 0)
            self.figures.lost += max(run.rows_accepted - has, 0)
            assert run.outcome == "succeeded", run
            assert run.rows_accepted == ROWS, run
        assert not by_slot, f"rows of runs that nobody knows: {by_slot}"
        assert (self.figures.lost, self.figures.doubled) == (0, 0), str(self.figures)

    def _check_items(self, found: list[StoredRun]) -> None:
        """Expect the upserted records as the newest run left them."""
        done = [run.scheduled_time for run in found if run.job == "upsert" and run.outcome == "succeeded"]
        items = {record["Key__c"]: int(float(record["Slot__c"])) for record in self.org.org.records("Item__c")}
        expected = {f"upsert-{number}": int(max(done).timestamp()) for number in range(ROWS)} if done else {}
        assert items == expected

    def _check_disables(self, found: list[StoredRun]) -> None:
        """Each disable was announced, and was one of the hopeless job's."""
        disables = [line for line in self._events() if line["event"] == "job.disabled"]
        assert {line["job"] for line in disables} <= {"hopeless"}
        failures = [run for run in found if run.job == "hopeless" and run.outcome == "failed"]
        if len(failures) >= 5:
            self._until(lambda: any("disabled" in subject for subject in self.hook.subjects), 90)

    def _events(self) -> list[dict[str, object]]:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    # ---- the rest

    def configure(self) -> None:
        """Write the config file as editors do: a new one in the old one's place."""
        text = HEAD.format(url=self.url, hook=self.hook.url, org=self.org.url, min_free=self.min_free)
        for name in self.names:
            text += APPEND.format(name=name, cron=self.cron, timeout=self.timeouts[name], rows=ROWS)
        text += UPSERT.format(name="upsert", cron=self.cron, rows=ROWS) + HOPELESS.format(cron=self.cron) + self.broken
        new = self.command.config.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o600)
        new.replace(self.command.config)

    def _one(self) -> subprocess.Popen[bytes]:
        self.start()
        daemon = self.lot.choice(self.daemons)
        assert daemon is not None
        return daemon

    def _count(self, kind: str) -> None:
        self.figures.faults[kind] += 1

    def _until(self, holds: Callable[[], object], seconds: float) -> None:
        limit = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < limit, f"{self.figures}\n{self._tail()}"
            time.sleep(0.3)

    def _tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-6000:]

    def _is_at_rest(self) -> bool:
        try:
            database = open_database(self.url)
        except StorageError:
            return False
        try:
            with database.read() as session:
                left = runs.count_unfinished(session)
            return left.waiting == 0 and left.running == 0 and self._has_stopped()
        except StorageError:
            return False
        finally:
            database.close()

    def _has_stopped(self) -> bool:
        """Whether the schedules have ended, so that nothing more comes."""
        answer = self.command("list", "--json", code=None)
        return answer.code == 0 and all(job["next_run_time"] is None for job in answer.json["jobs"])

    def _runs(self) -> list[StoredRun]:
        database = open_database(self.url)
        with database.read() as session:
            found = runs.list_runs(session, limit=10**6)
        database.close()
        return found
