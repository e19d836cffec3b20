"""The daily clearing on a real database and a real spool directory."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.storage import NOON, at, claimed, new_run, stored, token_of

from scheduler.daemon.retention import clear as clear_all
from scheduler.daemon.retention import set_aside
from storage import key_values, notices
from storage.database import Database, open_database
from storage.jobs.jobs import put_job
from storage.runs import ledger
from storage.runs.ledger import LedgerRow
from storage.runs.runs import list_runs, settle

HOUR = 3600


def clear(database: Database, spool: Path, **how: Any) -> None:
    clear_all(database, spool, snapshots_directory=spool.parent / "snapshots", **how)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    with opened.write() as session:
        put_job(session, name="a", origin="file", definition={"query": "select 1"}, now=NOON)
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    directory = tmp_path / "spool"
    directory.mkdir()
    return directory


def ended(database: Database, minutes: float, outcome: str, *, acted: bool = False) -> int:
    run = claimed(database, new_run("a", minutes))
    with database.write() as session:
        if acted:
            ledger.append(session, run.id, token_of(run), LedgerRow(step="s", mark="m", at=NOON))
        settle(session, run.id, token_of(run), now=at(minutes), outcome=outcome)
    return run.id


def fill(spool: Path, *names: str) -> None:
    for name in names:
        (spool / name / "filling-1").mkdir(parents=True)
        (spool / name / "filling-1" / "000001.csv").write_text("x")


def left(spool: Path) -> set[str]:
    return {path.name for path in spool.iterdir()}


def test_old_runs_go_with_their_spools_and_the_newest_stay(database: Database, spool: Path) -> None:
    old, older = ended(database, 0, "failed", acted=True), ended(database, 1, "succeeded")
    kept = ended(database, 90, "failed", acted=True)
    fill(spool, f"run-{old}", f"run-{old}-deleted", f"run-{older}-deleted", f"run-{kept}", f"run-{kept}-deleted")
    clear(database, spool, history=HOUR, now=at(90))
    with database.read() as session:
        assert [run.id for run in list_runs(session)] == [kept]
    assert left(spool) == {f"run-{kept}", f"run-{kept}-deleted"}


def test_of_runs_that_are_kept_only_what_proves_something_stays_on_the_disk(database: Database, spool: Path) -> None:
    succeeded, partial = ended(database, 1, "succeeded", acted=True), ended(database, 2, "partial", acted=True)
    canceled, failed = ended(database, 3, "canceled"), ended(database, 4, "failed", acted=True)
    running = claimed(database, new_run("a", 5)).id
    (waiting,) = stored(database, new_run("a", 6))
    numbers = (succeeded, partial, canceled, failed, running, waiting)
    fill(spool, *(f"run-{number}" for number in numbers), f"run-{succeeded}-deleted", f"run-{running}-deleted")
    clear(database, spool, history=HOUR, now=at(10))
    assert left(spool) == {
        *(f"run-{number}" for number in (failed, running, waiting)),
        f"run-{succeeded}-deleted",
        f"run-{running}-deleted",
    }


def test_what_is_no_spool_of_a_run_is_left_alone(database: Database, spool: Path, tmp_path: Path) -> None:
    number = ended(database, 1, "succeeded")
    fill(spool, "run-", "run-x", "runs-1", "other", ".run-1", "run-1x")
    (spool / "run-77").write_text("a file")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    (spool / f"run-{number}").symlink_to(elsewhere)
    before = left(spool)
    clear(database, spool, history=HOUR, now=at(10_000))
    assert set_aside(database, spool) == []
    assert left(spool) == before
    assert (elsewhere / "precious").exists()


def test_a_spool_of_a_run_that_this_database_never_had_is_set_aside_and_goes_when_it_is_old(
    database: Database, spool: Path
) -> None:
    known = ended(database, 1, "failed", acted=True)
    fill(spool, f"run-{known}", f"run-{known + 1}", f"run-{known + 1}-deleted")
    moved = set_aside(database, spool)
    assert left(spool) == {f"run-{known}", *(path.name for path in moved)}
    assert all(path.name.startswith(f"lost-run-{known + 1}") for path in moved)
    assert len(moved) == 2
    for path in moved:
        os.utime(path, (at(0).timestamp(), at(0).timestamp()))
    clear(database, spool, history=HOUR, now=at(59))
    assert len(left(spool)) == 3
    clear(database, spool, history=HOUR, now=at(61))
    assert left(spool) == {f"run-{known}"}


def test_a_run_that_was_pruned_was_known(database: Database, spool: Path) -> None:
    number = ended(database, 1, "succeeded")
    with database.write() as session:
        session.connection().exec_driver_sql("DELETE FROM job")
    clear(database, spool, history=HOUR, now=at(10_000))
    with database.read() as session:
        assert list_runs(session) == []
        assert key_values.get(session, "newest_pruned_run") == str(number)
    fill(spool, f"run-{number}")
    assert set_aside(database, spool) == []


def test_notices_that_were_sent_go_and_those_that_were_not_stay(database: Database, spool: Path) -> None:
    with database.write() as session:
        for subject in ("sent", "open"):
            notices.add(session, job="a", run_id=None, kind="failed", subject=subject, body="", now=NOON)
        sent, _ = notices.claim(session, owner="x", now=NOON, lease_seconds=1, limit=9)
        notices.close(session, sent, owner="x", ending="sent", now=NOON)
    clear(database, spool, history=HOUR, now=NOON + timedelta(hours=2))
    with database.write() as session:
        found = notices.claim(session, owner="y", now=at(9), lease_seconds=1, limit=9)
    assert [notice.subject for notice in found] == ["open"]


def test_a_stop_ends_it_and_a_spool_directory_that_is_not_there_is_no_fault(database: Database, spool: Path) -> None:
    numbers = [ended(database, minute, "succeeded") for minute in (1, 2, 3)]
    clear(database, spool / "nowhere", history=HOUR, now=at(10_000), is_stopping=lambda: True)
    with database.read() as session:
        assert len(list_runs(session)) == len(numbers)
    clear(database, spool / "nowhere", history=HOUR, now=at(10_000))
    with database.read() as session:
        assert [run.id for run in list_runs(session)] == numbers[-1:]
