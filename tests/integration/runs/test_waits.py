"""What a waiting run says that it waits for."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.storage import NOON, at

from scheduler.config.build import Config, parse
from scheduler.jobs.definition import parse_job
from scheduler.nodes.process import this_node
from scheduler.operations.wait_reasons import waits_for
from scheduler.runs.quota_hold_store import hold
from storage import key_values, nodes
from storage.database import Database, open_database, sqlite_url
from storage.jobs import jobs
from storage.runs import runs
from storage.runs.runs import NewRun, StoredRun

CONFIG = """
[connections.warehouse]
type = "duckdb"
max_running = 1
[connections.crm]
type = "salesforce"
login_url = "https://x.my.salesforce.com"
client_id = "a"
client_secret = { env = "X" }
"""


class World:
    """A state database with a daemon that lives, and jobs whose runs wait in it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.config: Config = parse(CONFIG)
        with database.write() as session:
            nodes.register(session, this_node("daemon", NOON))

    def run(self, job: str = "a", *, due: datetime = NOON, mode: str = "append", **keys: Any) -> StoredRun:
        """Store a job and a run of it that waits."""
        export = {"connection": "crm", "object": "Contact", "mode": mode, **({"key": "Id"} if mode == "update" else {})}
        table = {"source": "lake", "query": "select 1", "export": export, **keys}
        types = {"lake": "duckdb", "warehouse": "duckdb", "crm": "salesforce"}
        definition = parse_job(job, table, connections=types).to_dict()
        new = NewRun(job=job, scheduled_time=due, run_time=due, kind="schedule", definition=definition)
        with self.database.write() as session:
            jobs.put_job(session, name=job, origin="cli", definition=definition, now=NOON)
            (number,) = runs.insert_runs(session, [new], now=NOON)
        return self.stored(number or 0)

    def stored(self, number: int) -> StoredRun:
        with self.database.read() as session:
            found = runs.get_run(session, number)
        assert found is not None
        return found

    def claim(self, run: StoredRun) -> None:
        with self.database.write() as session:
            assert runs.claim_run(session, run.id, owner="x", now=NOON, lease_seconds=60)

    def says(self, run: StoredRun, *, here: bool = False) -> str | None:
        return waits_for(self.database, self.config, self.stored(run.id), at(0.1), here=here)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = open_database(sqlite_url(tmp_path / "state.db"))
    yield World(database)
    database.close()


def test_nothing_in_particular_and_nothing_at_all(world: World) -> None:
    run = world.run()
    assert world.says(run) == "a free worker"
    world.claim(run)
    with world.database.write() as session:
        nodes.register(session, replace(this_node("cli", NOON), id="x"))
    assert world.says(run) is None


def test_its_time(world: World) -> None:
    assert (
        world.says(world.run(due=NOON + timedelta(hours=2)))
        == f"its time, {NOON + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"
    )


def test_a_daemon_unless_this_process_would_execute_it(world: World) -> None:
    run = world.run()
    with world.database.write() as session:
        nodes.gone(session, nodes.all_nodes(session)[0].id)
    assert world.says(run) == "a daemon: none is alive"
    assert world.says(run, here=True) == "a free worker"


def test_a_job_that_is_disabled(world: World) -> None:
    run = world.run()
    with world.database.write() as session:
        session.connection().exec_driver_sql("update job set disabled_at = created_at, disabled_by = 'person'")
    assert world.says(run) == "job a to be enabled"


def test_another_run_of_its_job_going_on_or_before_it(world: World) -> None:
    first, second = world.run(), world.run(due=at(0.05))
    assert world.says(second) == f"run {first.id} of the same job"
    world.claim(first)
    assert world.says(second) == f"run {first.id} of the same job"
    both = [world.run("b", overlap="allow"), world.run("b", due=at(0.05), overlap="allow")]
    world.claim(both[0])
    assert world.says(both[1]) == "a free worker"


def test_a_connection_that_bears_no_more(world: World) -> None:
    first, second = world.run("a", source="warehouse"), world.run("b", source="warehouse")
    world.claim(first)
    assert world.says(second) == "connection warehouse, which allows 1 run at once (max_running)"


def test_a_run_that_writes_to_the_same_object_alone(world: World) -> None:
    first, second = world.run("a", mode="update"), world.run("b")
    world.claim(first)
    assert world.says(second) == f"run {first.id} of job a, which writes to the same object"


def test_a_quota_and_a_disk(world: World) -> None:
    run = world.run()
    with world.database.write() as session:
        hold(session, "crm", code="REQUEST_LIMIT_EXCEEDED", message="used up", now=NOON)
    assert (world.says(run) or "").startswith("the quota of connection crm, until ")
    assert (world.says(run) or "").endswith(": used up")
    with world.database.write() as session:
        key_values.put(session, f"disk_fault:{this_node('cli', NOON).host}:/spool", "5 MB are free")
    assert (world.says(run) or "").startswith("room on a disk: ")


def test_a_run_whose_process_has_ended_waits_for_a_daemon(world: World) -> None:
    run = world.run()
    world.claim(run)
    assert world.says(run) == "a daemon to go on with it (or schedctl daemon --once): its process has ended"
    with world.database.write() as session:
        nodes.register(session, replace(this_node("cli", NOON), id="x"))
    assert world.says(run) is None
