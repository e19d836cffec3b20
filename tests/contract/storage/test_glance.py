"""The quick look at a SQLite state file says what the modules that own the tables say, or nothing."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from support.storage import NOON, at, claimed, new_run, stored

from storage import key_values, nodes, notices
from storage.database import Database, open_database, sqlite_url
from storage.fast_read import NoGlance, glance
from storage.jobs import jobs
from storage.nodes import Node
from storage.runs import runs


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a state file in which there is some of everything."""
    path = tmp_path / "it's 100%?.db"
    database = open_database(sqlite_url(path))
    _fill(database)
    database.close()
    return path


def _fill(database: Database) -> None:
    node = Node(
        id="n", host="h", boot_id="", pid=1, pid_started="", version="1", started_at=NOON, seen_at=NOON, kind="daemon"
    )
    with database.write() as session:
        for name in ("nightly", "b", "a"):
            jobs.put_job(session, name=name, origin="file", definition={"cron": "0 3 * * *", "é": name}, now=NOON)
        jobs.disable_job(session, "b", by="daemon", reason="it's broken", now=at(1))
        nodes.register(session, node)
        key_values.put(session, "disk_fault:h:x", "full")
        key_values.put(session, "disk-fault", "other")
        notices.add(session, job="a", run_id=None, kind="failed", subject="s", body="b", now=NOON)
    ended = claimed(database)
    with database.write() as session:
        failure = ("data", "BAD", "no good")
        rows = (5, 3, 2, 0)
        runs.settle(session, ended.id, ended.token or "", now=at(2), outcome="failed", failure=failure, rows=rows)
    stored(database, new_run(minutes=9), new_run("gone"))
    claimed(database, new_run("a", 3))


def test_every_answer_is_that_of_the_module_that_owns_the_table(file: Path) -> None:
    database = open_database(sqlite_url(file))
    with database.read() as session, glance(file) as seen:
        assert seen.jobs() == jobs.all_jobs(session)
        assert seen.jobs("b") == [jobs.get_job(session, "b")]
        assert seen.jobs("none") == []
        assert seen.job_names() == [job.name for job in jobs.all_jobs(session)]
        assert (seen.job_names("n"), seen.job_names("_"), seen.job_names("%")) == (["nightly"], [], [])
        assert seen.last_runs() == runs.last_runs(session)
        assert list(seen.last_runs()) == ["nightly"]
        assert seen.newest_runs(("failed",), 5) == runs.list_runs(session, limit=5, outcomes=("failed",))
        assert seen.nodes() == nodes.all_nodes(session)
        assert seen.outbox() == notices.outbox(session)
        assert seen.outbox().pending == 1
        assert seen.setting("disk-fault") == key_values.get(session, "disk-fault") == "other"
        assert seen.setting("none") is None
        assert seen.settings_beginning_with("disk_") == key_values.beginning_with(session, "disk_")
        for overdue in (NOON, at(3), at(10)):
            assert seen.queue(overdue) == runs.queue(session, overdue=overdue)
        assert seen.queue(at(10)) == {"waiting": 2, "running": 1, "overdue": 2}
        assert seen.count_jobs() == jobs.count_jobs(session) == (3, 1)
        for after in (NOON, at(10)):
            assert seen.held_back_jobs(after) == jobs.held_back_jobs(session, after)
        assert [job.name for job in seen.held_back_jobs(at(10))] == ["b"]
    database.close()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NoGlance), glance(tmp_path / "none.db"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_gives_way_to_another_schema_and_to_a_foreign_or_broken_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database", encoding="utf-8")
    foreign = sqlite3.connect(tmp_path / "foreign")
    foreign.execute("CREATE TABLE t (x)")
    foreign.close()
    changed = sqlite3.connect(file)
    changed.execute("UPDATE schedctl_schema SET version_num = '9999'")
    changed.commit()
    changed.close()
    for path in (tmp_path / "text", tmp_path / "foreign", file, tmp_path):
        with pytest.raises(NoGlance), glance(path):
            pass


def test_it_only_reads_and_sees_one_instant(file: Path) -> None:
    database = open_database(sqlite_url(file))
    with glance(file) as seen:
        before = seen.jobs()
        with database.write() as session:
            jobs.remove_job(session, "a", now=NOON + timedelta(hours=1))
        assert seen.jobs() == before
        with pytest.raises(sqlite3.OperationalError):
            seen._connection.execute("DELETE FROM job")
    database.close()
