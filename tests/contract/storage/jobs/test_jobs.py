"""Jobs, their state and their history."""

import pytest
from support.storage import NOON, at, claimed, new_run, stored, token_of

from storage.database import Database
from storage.jobs.jobs import (
    StoredJob,
    all_jobs,
    change_mark,
    count_jobs,
    definition_history,
    disable_job,
    enable_job,
    get_job,
    held_back_jobs,
    put_job,
    put_jobs,
    record_outcome,
    remove_job,
    set_high_water,
)
from storage.runs.ledger import LedgerRow, append
from storage.runs.runs import claim_run, claim_runs, get_run, postpone, take_back

NIGHTLY = {"cron": "0 3 * * *", "query": "select 1", "tags": ["a", {"b": None}], "share": 0.5, "größe": "ß"}


def put(database: Database, definition: dict[str, object] = NIGHTLY, *, minutes: float = 0, name: str = "n") -> bool:
    with database.write() as session:
        return put_job(session, name=name, origin="file", definition=definition, now=at(minutes))


def job(database: Database, name: str = "n") -> StoredJob:
    with database.read() as session:
        found = get_job(session, name)
    assert found is not None
    return found


def test_a_new_job_comes_back_as_it_was_put(database: Database) -> None:
    assert put(database)
    assert job(database) == StoredJob(
        name="n",
        origin="file",
        definition=NIGHTLY,
        revision=1,
        created_at=NOON,
        updated_at=NOON,
        anchored_at=NOON,
        high_water=None,
        disabled_at=None,
        disabled_by=None,
        disabled_reason=None,
        failure_streak=0,
        last_success=None,
    )


def test_putting_the_same_job_again_changes_nothing_whatever_the_order_of_keys(database: Database) -> None:
    put(database)
    before = job(database)
    assert not put(database, dict(reversed(NIGHTLY.items())), minutes=5)
    assert job(database) == before


def test_another_definition_counts_from_now_and_keeps_the_state(database: Database) -> None:
    put(database)
    with database.write() as session:
        set_high_water(session, {"n": at(3)})
        record_outcome(session, "n", streak=4, last_success=at(2))
    assert put(database, {"cron": "@hourly"}, minutes=10)
    changed = job(database)
    assert (changed.definition, changed.revision, changed.failure_streak) == ({"cron": "@hourly"}, 2, 0)
    assert (changed.created_at, changed.updated_at, changed.anchored_at) == (NOON, at(10), at(10))
    assert (changed.high_water, changed.last_success) == (at(3), at(2))


def test_another_definition_with_the_same_schedule_still_owes_what_it_owed(database: Database) -> None:
    put(database)
    with database.write() as session:
        put_job(session, name="n", origin="file", definition={"q": 2}, now=at(10), same_schedule=True)
    assert (job(database).anchored_at, job(database).updated_at) == (NOON, at(10))


def test_another_origin_alone_is_a_change_but_no_new_revision(database: Database) -> None:
    put(database)
    with database.write() as session:
        assert put_job(session, name="n", origin="cli", definition=NIGHTLY, now=at(1))
    changed = job(database)
    assert (changed.origin, changed.revision, changed.anchored_at) == ("cli", 1, NOON)


def test_many_jobs_are_put_as_each_alone_would_be(database: Database) -> None:
    """New ones, one that was there before, one as it is, one of another definition, one of another origin."""
    for name in ("back", "same", "edited", "moved"):
        put(database, name=name)
    with database.write() as session:
        remove_job(session, "back", now=at(1))
        disable_job(session, "edited", by="daemon", reason="no such host", now=at(1))
        put_job(session, name="moved", origin="cli", definition=NIGHTLY, now=at(1))
    edited = {**NIGHTLY, "query": "select 2"}
    definitions = {"new": NIGHTLY, "newer": {}, "back": NIGHTLY, "same": NIGHTLY, "edited": edited, "moved": NIGHTLY}
    with database.write() as session:
        changed = put_jobs(session, origin="file", definitions=definitions, now=at(2), same_schedule=["edited"])
    assert changed == {"new", "newer", "back", "edited", "moved"}
    assert {name: job(database, name).definition for name in definitions} == definitions
    assert {name: job(database, name).revision for name in definitions} == {
        **dict.fromkeys(("new", "newer", "same", "moved"), 1),
        **dict.fromkeys(("back", "edited"), 2),
    }
    assert job(database, "edited").disabled_at is None
    assert {job(database, name).origin for name in definitions} == {"file"}
    with database.read() as session:
        told = {name: [each.change for each in definition_history(session, name)] for name in definitions}
    assert told["new"] == told["newer"] == told["same"] == ["put"]
    assert told["back"] == ["put", "removed", "put"]
    assert told["edited"] == ["put", "disabled", "put", "enabled"]
    assert told["moved"] == ["put", "put", "put"]


def test_more_jobs_than_fit_in_one_statement_are_all_put(database: Database) -> None:
    definitions: dict[str, dict[str, object]] = {f"job-{number}": {"query": number % 7} for number in range(1203)}
    with database.write() as session:
        assert put_jobs(session, origin="cli", definitions=definitions, now=NOON) == definitions.keys()
        assert put_jobs(session, origin="cli", definitions=definitions, now=at(1)) == set()
    with database.read() as session:
        assert {each.name: each.definition for each in all_jobs(session)} == definitions


@pytest.mark.parametrize(("by", "lifted"), [("daemon", True), ("person", False)])
def test_an_edit_lifts_what_the_daemon_disabled_and_never_what_a_person_did(
    database: Database, by: str, *, lifted: bool
) -> None:
    put(database)
    with database.write() as session:
        assert disable_job(session, "n", by=by, reason="no such host", now=at(1))
    assert not put(database, minutes=2), "the same definition is no edit"
    assert job(database).disabled_reason == "no such host"
    put(database, {"query": "select 2"}, minutes=3)
    changed = job(database)
    assert (changed.disabled_at is None, changed.disabled_by is None, changed.disabled_reason is None) == (lifted,) * 3


def test_what_a_person_disabled_the_daemon_leaves_alone_and_not_the_other_way_round(database: Database) -> None:
    put(database)
    with database.write() as session:
        assert disable_job(session, "n", by="daemon", reason="5 failures", now=at(1))
        assert not disable_job(session, "n", by="daemon", reason="6 failures", now=at(2))
        assert disable_job(session, "n", by="person", reason="moving house", now=at(3))
        assert not disable_job(session, "n", by="daemon", reason="7 failures", now=at(4))
        assert not disable_job(session, "none", by="person", reason="", now=at(4))
    found = job(database)
    assert (found.disabled_at, found.disabled_by, found.disabled_reason) == (at(3), "person", "moving house")


def test_enabling_resets_the_streak_and_owes_nothing_of_the_time_before(database: Database) -> None:
    put(database)
    with database.write() as session:
        assert not enable_job(session, "n", now=at(1))
        record_outcome(session, "n", streak=5, last_success=None)
        disable_job(session, "n", by="daemon", reason="5 failures", now=at(2))
        assert enable_job(session, "n", now=at(9))
    found = job(database)
    assert (found.disabled_at, found.disabled_by, found.disabled_reason) == (None, None, None)
    assert (found.failure_streak, found.anchored_at) == (0, at(9))


def test_the_mark_of_changes_differs_after_each_change_and_only_then(database: Database) -> None:
    def mark() -> str:
        with database.read() as session:
            return change_mark(session)

    marks = [mark()]
    put(database)
    marks.append(mark())
    put(database)
    with database.write() as session:
        set_high_water(session, {"n": at(1)})
        record_outcome(session, "n", streak=1, last_success=at(1))
        enable_job(session, "n", now=at(1))
    assert mark() == marks[-1]
    changes = [
        lambda s: put_job(s, name="n", origin="cli", definition=NIGHTLY, now=at(2)),
        lambda s: put_job(s, name="n", origin="cli", definition={}, now=at(2)),
        lambda s: disable_job(s, "n", by="person", reason="x", now=at(3)),
        lambda s: enable_job(s, "n", now=at(4)),
        lambda s: remove_job(s, "n", now=at(5)),
    ]
    for change in changes:
        with database.write() as session:
            assert change(session)
        marks.append(mark())
    assert len(set(marks)) == len(marks) == 7


def test_a_high_water_mark_never_moves_back(database: Database) -> None:
    put(database)
    put(database, name="other")
    for mark in (at(5), at(3), at(7), at(6)):
        with database.write() as session:
            set_high_water(session, {"n": mark, "unknown": mark})
    assert job(database).high_water == at(7)
    assert job(database, "other").high_water is None
    with database.write() as session:
        set_high_water(session, {})


def test_the_slot_of_the_last_success_never_moves_back_and_a_failure_keeps_it(database: Database) -> None:
    put(database)
    for mark in (at(5), at(2), None):
        with database.write() as session:
            record_outcome(session, "n", streak=1, last_success=mark)
    assert (job(database).last_success, job(database).failure_streak) == (at(5), 1)


def test_history_tells_what_a_job_was_from_when_on_over_its_removal(database: Database) -> None:
    put(database, {"v": 1}, minutes=0)
    with database.write() as session:
        disable_job(session, "n", by="person", reason="x", now=at(1))
        enable_job(session, "n", now=at(2))
    put(database, {"v": 2}, minutes=3)
    with database.write() as session:
        assert remove_job(session, "n", now=at(4))
        assert not remove_job(session, "n", now=at(5))
    put(database, {"v": 1}, minutes=6)
    put(database, {"v": 9}, minutes=6, name="other")
    with database.read() as session:
        history = definition_history(session, "n")
    assert [(h.change, h.revision, h.definition, h.valid_from, h.anchored_at, h.removed) for h in history] == [
        ("put", 1, {"v": 1}, at(0), at(0), False),
        ("disabled", 1, {"v": 1}, at(1), at(0), False),
        ("enabled", 1, {"v": 1}, at(2), at(2), False),
        ("put", 2, {"v": 2}, at(3), at(3), False),
        ("removed", 2, {"v": 2}, at(4), at(3), True),
        ("put", 3, {"v": 1}, at(6), at(6), False),
    ]


def test_a_removed_job_leaves_no_slot_waiting_and_what_has_begun_goes_on(database: Database) -> None:
    put(database, name="nightly")
    running = claimed(database, new_run(minutes=0, kind="manual"))
    begun = claimed(database, new_run(minutes=1, definition={"overlap": "allow"}))
    idle = claimed(database, new_run(minutes=2, definition={"overlap": "allow"}))
    with database.write() as session:
        append(session, begun.id, token_of(begun), LedgerRow(step="create", mark="done", at=at(1)))
        for run in (begun, idle):
            postpone(session, run.id, token_of(run), now=at(2), run_time=at(60), failure=("transient", "E", "m"))
    (fresh,) = stored(database, new_run(minutes=3))
    with database.write() as session:
        assert remove_job(session, "nightly", now=at(5), reason="the job was removed by alice with her editor")
    with database.read() as session:
        assert get_job(session, "nightly") is None
        first, second, third, fourth = (get_run(session, number) for number in (running.id, begun.id, idle.id, fresh))
    assert first == running
    assert second is not None
    assert (second.state, second.run_time, second.cancel_requested_at) == ("waiting", at(60), None)
    reason = "the job was removed by alice with her editor"
    assert third is not None
    assert (third.outcome, third.reason, third.skipped, third.finished_at) == ("canceled", reason, 0, at(5))
    assert fourth is not None
    assert (fourth.outcome, fourth.reason, fourth.skipped, fourth.finished_at) == ("skipped", reason, 1, at(5))


def test_all_jobs_come_by_name_the_same_on_both_databases(database: Database) -> None:
    for name in ("b", "B", "a-1", "a.1", "_", "a"):
        put(database, name=name)
    with database.read() as session:
        assert [found.name for found in all_jobs(session)] == ["B", "_", "a", "a-1", "a.1", "b"]
        assert get_job(session, "A") is None


def test_a_disable_skips_the_slots_that_wait_and_lets_what_has_started_go_on_to_its_end(database: Database) -> None:
    put(database, {"v": 1})
    started, waits, asked = stored(database, new_run("n", 0), new_run("n", 1), new_run("n", 2, kind="manual"))
    with database.write() as session:
        run = claim_run(session, started, owner="a", now=at(2), lease_seconds=60)
        assert run is not None
        take_back(session, owners=["a"], now=at(3))
        disable_job(session, "n", by="person", reason="x", now=at(4))
        found = {number: get_run(session, number) for number in (started, waits, asked)}
        again = claim_runs(session, owner="b", now=at(5), lease_seconds=60, limit=10)
    assert [found[number].state for number in (started, waits, asked)] == ["waiting", "finished", "waiting"]  # type: ignore[union-attr] # they are there
    assert found[waits].reason == "the job was disabled before this slot could start"  # type: ignore[union-attr] # it is
    assert [each.id for each in again] == [started]


def test_a_changed_job_counts_from_the_newest_slot_that_fired_although_the_clock_went_back(database: Database) -> None:
    put(database, {"v": 1})
    with database.write() as session:
        set_high_water(session, {"n": at(60)})
        put_job(session, name="n", origin="file", definition={"v": 2}, now=at(5))
        disable_job(session, "n", by="person", reason="x", now=at(6))
        enable_job(session, "n", now=at(7))
        changes = definition_history(session, "n")
    assert [(change.change, change.valid_from, change.anchored_at) for change in changes[1:]] == [
        ("put", at(5), at(60)),
        ("disabled", at(6), at(60)),
        ("enabled", at(7), at(60)),
    ]


def test_an_edit_that_lifts_a_disable_is_two_changes_so_that_the_history_alone_says_it(database: Database) -> None:
    put(database, {"v": 1})
    with database.write() as session:
        disable_job(session, "n", by="daemon", reason="x", now=at(1))
        put_job(session, name="n", origin="file", definition={"v": 2}, now=at(2))
        changes = definition_history(session, "n")
    assert [change.change for change in changes] == ["put", "disabled", "put", "enabled"]


def test_jobs_are_counted_and_those_that_are_held_back_are_found_by_name(database: Database) -> None:
    for name in ("z", "a", "by hand", "by failures", "ahead"):
        put(database, name=name)
    with database.write() as session:
        disable_job(session, "by hand", by="person", reason="a move", now=at(1))
        disable_job(session, "by failures", by="daemon", reason="no such column", now=at(1))
        set_high_water(session, {"a": at(10), "ahead": at(11)})
    with database.read() as session:
        assert count_jobs(session) == (5, 2)
        assert [found.name for found in held_back_jobs(session, at(10))] == ["ahead", "by failures"]
