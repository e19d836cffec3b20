"""The state of a removed job is kept for its name, and comes back with it."""

from typing import Any, Literal

import pytest
from support.storage import NOON, at, claimed, new_run

from storage.database import Database
from storage.jobs import removed, snapshots
from storage.jobs.jobs import (
    StoredJob,
    definition_history,
    disable_job,
    get_job,
    put_job,
    put_jobs,
    record_outcome,
    remove_job,
    set_high_water,
)

NIGHTLY = {"cron": "0 3 * * *", "query": "select 1"}
EDITED = {"cron": "0 3 * * *", "query": "select 2"}


def put(database: Database, *, minutes: float, definition: dict[str, object] = NIGHTLY, origin: str = "file") -> None:
    with database.write() as session:
        put_job(session, name="n", origin=origin, definition=definition, now=at(minutes))


def put_many(database: Database, *, minutes: float, definition: dict[str, object] = NIGHTLY) -> None:
    with database.write() as session:
        put_jobs(session, origin="file", definitions={"n": definition, "other": definition}, now=at(minutes))


def remove(database: Database, *, minutes: float) -> None:
    with database.write() as session:
        assert remove_job(session, "n", now=at(minutes))


def job(database: Database) -> StoredJob:
    with database.read() as session:
        found = get_job(session, "n")
    assert found is not None
    return found


def live(database: Database, *, disabled_by: Literal["person", "daemon"] | None = None) -> None:
    """Give the job a state: it fired, it succeeded, it failed twice since, and it may be disabled."""
    put(database, minutes=0)
    with database.write() as session:
        set_high_water(session, {"n": at(10)})
        record_outcome(session, "n", streak=2, last_success=at(5))
        if disabled_by is not None:
            disable_job(session, "n", by=disabled_by, reason="because", now=at(11))


def changes(database: Database) -> list[str]:
    with database.read() as session:
        return [each.change for each in definition_history(session, "n")]


@pytest.mark.parametrize("put_back", [put, put_many])
@pytest.mark.parametrize("disabled_by", ["person", "daemon"])
def test_a_job_comes_back_as_it_was_when_it_was_removed(
    database: Database, put_back: Any, disabled_by: Literal["person", "daemon"]
) -> None:
    live(database, disabled_by=disabled_by)
    remove(database, minutes=20)
    put_back(database, minutes=30)
    back = job(database)
    assert (back.high_water, back.last_success, back.failure_streak) == (at(10), at(5), 2)
    assert (back.disabled_at, back.disabled_by, back.disabled_reason) == (at(11), disabled_by, "because")
    assert back.anchored_at == at(30), "slots of the time when it was gone are not owed"
    assert changes(database) == ["put", "disabled", "removed", "put", "disabled"]


def test_an_edit_on_the_way_lifts_what_the_daemon_disabled_and_never_what_a_person_did(database: Database) -> None:
    live(database, disabled_by="daemon")
    remove(database, minutes=20)
    put(database, minutes=30, definition=EDITED)
    assert (job(database).disabled_by, job(database).failure_streak, job(database).last_success) == (None, 0, at(5))
    with database.write() as session:
        disable_job(session, "n", by="person", reason="mine", now=at(31))
    remove(database, minutes=40)
    put(database, minutes=50, definition=NIGHTLY)
    assert (job(database).disabled_by, job(database).disabled_reason) == ("person", "mine")


def test_a_job_that_fired_by_a_clock_that_was_ahead_does_not_fire_again_when_it_is_back(database: Database) -> None:
    live(database)
    with database.write() as session:
        set_high_water(session, {"n": at(1000)})
    remove(database, minutes=20)
    put(database, minutes=30)
    assert job(database).anchored_at == at(1000)


def test_the_state_comes_back_whichever_way_the_job_does(database: Database) -> None:
    live(database, disabled_by="person")
    remove(database, minutes=20)
    put(database, minutes=30, origin="cli")
    assert (job(database).origin, job(database).disabled_reason) == ("cli", "because")
    remove(database, minutes=40)
    put(database, minutes=50)
    assert (job(database).origin, job(database).disabled_reason) == ("file", "because")


def test_a_run_that_ends_after_its_job_was_removed_counts_when_the_job_is_back(database: Database) -> None:
    live(database)
    claimed(database, new_run("n"))
    remove(database, minutes=20)
    with database.write() as session:
        removed.record_outcome(session, "n", streak=0, last_success=at(12))
        removed.record_outcome(session, "n", streak=1, last_success=at(7))
    put(database, minutes=30)
    assert (job(database).failure_streak, job(database).last_success) == (1, at(12))


def test_what_is_forgotten_does_not_come_back(database: Database) -> None:
    live(database, disabled_by="person")
    remove(database, minutes=20)
    with database.write() as session:
        kept = removed.get(session, "n")
        assert kept is not None
        assert (kept.definition, kept.removed_at, kept.origin) == (NIGHTLY, at(20), "file")
        assert [each.name for each in removed.removed_jobs(session)] == ["n"]
        assert removed.forget(session, "n")
        assert not removed.forget(session, "n")
    put(database, minutes=30)
    back = job(database)
    assert (back.high_water, back.last_success, back.failure_streak, back.disabled_at) == (None, None, 0, None)


def test_the_snapshot_of_a_removed_job_is_kept_as_long_as_its_state(database: Database) -> None:
    live(database)
    with database.write() as session:
        snapshots.put(session, "n", {"scope": "crm Contact", "file": "/there"}, before=0, now=NOON)
    remove(database, minutes=20)
    with database.write() as session:
        assert snapshots.prune(session, before=at(1_000_000)) == []
        removed.forget(session, "n")
        assert snapshots.prune(session, before=at(1_000_000)) == ["n"]
