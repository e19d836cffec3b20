"""A result that fills the disk of the state database: its run fails, and neither it nor any other is stuck for it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.events import Event, RowsSpooled
from exporter.spool.spool import Spool
from scheduler.config.build import Config, load
from scheduler.daemon import daemon
from scheduler.daemon.daemon import make_disk_room
from scheduler.operations.jobs import sync_file_jobs
from scheduler.runs.cancellation import RunControl
from scheduler.runs.context import KEPT_FREE, RunWork
from scheduler.runs.runner import perform
from storage.database import Database, StorageError, open_database
from storage.jobs import jobs
from storage.runs import runs
from storage.runs.runs import NewRun

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CONFIG = """
[storage]
url = "sqlite:///state.db"
min_free = {min_free}
[connections.warehouse]
type = "duckdb"
[connections.files]
type = "file"
directory = "out"
[jobs.big]
source = "warehouse"
query = "select range as n from range(100)"
export = {{ connection = "files" }}
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


def config(directory: Path, min_free: str) -> Config:
    (directory / "config.toml").write_text(CONFIG.format(min_free=min_free), encoding="utf-8")
    return load(directory / "config.toml")


def work(database: Database, config: Config) -> RunWork:
    sync_file_jobs(database, config, NOON)
    with database.write() as session:
        job = jobs.get_job(session, "big")
        assert job is not None
        new = NewRun(job="big", scheduled_time=NOON, run_time=NOON, kind="manual", definition=job.definition)
        (number,) = runs.insert_runs(session, [new], now=NOON)
        assert number is not None
        run = runs.claim_run(session, number, owner="node", now=NOON, lease_seconds=60)
    assert run is not None
    return RunWork(
        database=database,
        config=config,
        run=run,
        spool_root=Path(config.storage.spool),
        control=RunControl(timeout=3600),
        clock=lambda: NOON,
    )


def spooled(config: Config) -> list[Path]:
    return [path for path in Path(config.storage.spool).rglob("*") if path.is_file()]


def test_a_state_database_without_room_takes_the_failure_once_the_result_that_took_it_is_gone(
    database: Database, tmp_path: Path
) -> None:
    found = config(tmp_path, "0")

    def fill(event: Event) -> None:
        if isinstance(event, RowsSpooled):
            assert spooled(found)
            raise StorageError("FULL", "the disk is full")

    working = work(database, found)
    working.listen = fill
    run = perform(working)
    assert (run.state, run.failure_kind, run.failure_code) == ("waiting", "transient", "DISK_FULL")
    assert run.run_time > NOON, "it is postponed"
    assert spooled(found) == []


def test_a_state_database_that_refuses_for_another_reason_leaves_the_run_to_its_claim(
    database: Database, tmp_path: Path
) -> None:
    def refuse(event: Event) -> None:
        if isinstance(event, RowsSpooled):
            raise StorageError("BUSY", "locked")

    working = work(database, config(tmp_path, "0"))
    working.listen = refuse
    with pytest.raises(StorageError, match="locked"):
        perform(working)


@pytest.mark.parametrize(
    ("min_free", "kept"), [("0", 0), ('"1MB"', 1_000_000), ('"50MB"', KEPT_FREE), ('"900TB"', KEPT_FREE)]
)
def test_a_spool_leaves_as_much_free_as_it_is_told_but_not_the_whole_of_min_free(
    database: Database, tmp_path: Path, min_free: str, kept: int
) -> None:
    assert work(database, config(tmp_path, min_free)).kept_free == kept


def test_a_daemon_that_starts_on_a_full_disk_takes_away_what_killed_queries_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    complete, killed = Spool(tmp_path / "spool" / "run-1"), Spool(tmp_path / "spool" / "run-2")
    with complete.begin() as writer:
        writer.close([], rows=0)
    killed.begin().add(b"x", rows=1, first_row=1)
    make_disk_room(tmp_path, tmp_path / "spool")
    assert list(killed.directory.rglob("*.csv")), "there is room: the run that is tried again takes it away"
    monkeypatch.setattr(daemon, "LEAST_FREE", 10**18)
    make_disk_room(tmp_path, tmp_path / "spool")
    assert not list(killed.directory.rglob("*.csv"))
    assert complete.manifest() is not None
    assert "spool.abandoned" in caplog.text
