"""What targets are known to hold: one row a job, changed only by whoever saw it last."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from support.storage import at

from storage.database import Database
from storage.jobs import jobs, snapshots

SENT: dict[str, Any] = {"file": "/s/a.parquet", "scope": "Contact by Ext_Id__c", "rows": 5, "run_id": 1}


def test_a_job_that_sent_nothing_has_no_snapshot(database: Database) -> None:
    with database.read() as session:
        assert snapshots.get(session, "a") is None
        assert snapshots.files(session) == set()


def test_each_change_counts_the_revision_up_and_only_the_last_one_can_be_changed(database: Database) -> None:
    with database.write() as session:
        assert snapshots.put(session, "a", SENT, before=0, now=at(0))
        assert not snapshots.put(session, "a", SENT, before=0, now=at(0))
        assert snapshots.put(session, "a", {"resend": True}, before=1, now=at(1))
        assert not snapshots.put(session, "a", {"resend": False}, before=1, now=at(2))
    with database.read() as session:
        stored = snapshots.get(session, "a")
        assert snapshots.files(session) == {"/s/a.parquet"}
    assert stored is not None
    assert (stored.revision, stored.resend, stored.rows, stored.doubtful, stored.updated_at) == (2, True, 5, 0, at(1))
    assert (stored.decision, stored.lost_run_id) == (None, None)


def test_of_several_that_change_it_at_once_one_does(database: Database) -> None:
    with database.write() as session:
        snapshots.put(session, "a", SENT, before=0, now=at(0))

    def change(_number: int) -> bool:
        with database.write() as session:
            return snapshots.put(session, "a", {"rows": 6}, before=1, now=at(1))

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(change, range(6))) == [False] * 5 + [True]


def test_what_does_not_commit_changes_nothing(database: Database) -> None:
    try:
        with database.write() as session:
            snapshots.put(session, "a", SENT, before=0, now=at(0))
            raise KeyError("ours")
    except KeyError:
        pass
    with database.read() as session:
        assert snapshots.get(session, "a") is None


def test_snapshots_of_jobs_that_are_long_gone_are_forgotten_and_no_others(database: Database) -> None:
    with database.write() as session:
        jobs.put_job(session, name="here", origin="cli", definition={}, now=at(0))
        for name in ("here", "gone", "late"):
            snapshots.put(session, name, SENT, before=0, now=at(10 if name == "late" else 0))
        assert snapshots.prune(session, before=at(0) + timedelta(minutes=5)) == ["gone"]
        assert snapshots.get(session, "here") is not None
        assert snapshots.get(session, "late") is not None
