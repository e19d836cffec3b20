"""Who did what: kept per job and per run, newest first, and pruned by age."""

from support.storage import NOON, at

from storage import actions
from storage.database import Database
from storage.values import Actor

ALICE = Actor(user="root", sudo_user="alice", host="h", command="schedctl disable")


def test_actions_are_read_by_job_and_by_run_newest_first(database: Database) -> None:
    with database.write() as session:
        actions.record(session, ALICE, "disabled", now=NOON, jobs=["a", "b"])
        actions.record(session, ALICE, "asked for", now=at(1), jobs=["a"], run_id=7)
        actions.record(session, ALICE, "reloaded", now=at(2))
    with database.read() as session:
        of_a, of_run = actions.of_job(session, "a", limit=10), actions.of_run(session, 7, limit=10)
        assert actions.of_job(session, "a", limit=1) == of_a[:1]
    assert [(each.change, each.at, each.run_id) for each in of_a] == [("asked for", at(1), 7), ("disabled", NOON, None)]
    assert of_run == of_a[:1]
    assert of_a[0].by == ALICE


def test_thousands_are_kept_at_once_and_old_ones_pruned_some_at_a_time(database: Database) -> None:
    names = [f"job-{number}" for number in range(1_200)]
    with database.write() as session:
        actions.record(session, ALICE, "added", now=NOON, jobs=names)
        actions.record(session, ALICE, "changed", now=at(1), jobs=["job-1"])
        assert actions.prune(session, before=at(0.5), limit=1_000) == 1_000
        assert actions.prune(session, before=at(0.5), limit=1_000) == 200
        assert [each.change for each in actions.of_job(session, "job-1", limit=10)] == ["changed"]
