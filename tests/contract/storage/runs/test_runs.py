"""Runs: stored once per slot, looked up, canceled, passed over."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.storage import NOON, at, claimed, new_run, stored, token_of

from storage.database import Database
from storage.jobs.jobs import disable_job, put_job
from storage.runs.ledger import LedgerRow, append
from storage.runs.runs import (
    CrowdedJob,
    StoredRun,
    begun_runs,
    claim_run,
    claim_runs,
    crowded_jobs,
    get_run,
    insert_runs,
    last_runs,
    last_sent_slot,
    list_runs,
    next_waiting_time,
    postpone,
    redefine_waiting,
    release,
    replace_waiting,
    request_cancel,
    set_reason,
    settle,
    waiting_or_running,
)


def run_of(database: Database, number: int) -> StoredRun:
    with database.read() as session:
        run = get_run(session, number)
    assert run is not None
    return run


def settled(database: Database, outcome: str, minutes: float, job: str = "nightly", ended: float = 0) -> int:
    run = claimed(database, new_run(job, minutes))
    with database.write() as session:
        settle(session, run.id, token_of(run), now=at(ended), outcome=outcome)
    return run.id


def acted(
    database: Database, minutes: float, *, end: str | None, rows: tuple[int, int, int, int] = (8, 2, 0, 0)
) -> int:
    """Store a run that was about to act outside, and that ended so or goes on; return its number."""
    run = claimed(database, new_run("nightly", minutes))
    with database.write() as session:
        append(session, run.id, token_of(run), LedgerRow(step="batch.send", mark="intended", batch=1, at=NOON))
        if end is not None:
            settle(session, run.id, token_of(run), now=NOON, outcome=end, rows=rows)
    return run.id


def test_the_last_sent_slot_is_that_of_the_newest_slot_that_succeeded(database: Database) -> None:
    settled(database, "succeeded", 0)
    settled(database, "succeeded", 2)
    settled(database, "succeeded", 1)
    settled(database, "failed", 3)
    settled(database, "succeeded", 9, job="other")
    with database.read() as session:
        assert last_sent_slot(session, "nightly") == at(2)
        assert last_sent_slot(session, "nightly", before=at(2)) == at(1)
        assert last_sent_slot(session, "none") is None


def test_a_slot_was_sent_partly_if_each_row_has_its_result(database: Database) -> None:
    settled(database, "succeeded", 0)
    acted(database, 1, end="partial", rows=(8, 5, 3, 0))
    acted(database, 2, end="failed", rows=(8, 5, 1, 0))
    acted(database, 3, end="failed", rows=(8, 0, 8, 0))
    with database.read() as session:
        assert last_sent_slot(session, "nightly") == at(0)
        assert last_sent_slot(session, "nightly", partly=True) == at(1)


def test_a_slot_counts_as_sent_for_one_reason_and_never_for_another(database: Database) -> None:
    settled(database, "succeeded", 0)
    first, second = settled(database, "failed", 1), settled(database, "succeeded", 2)
    with database.write() as session:
        assert set_reason(session, first, "by hand")
        assert set_reason(session, second, "again")
        assert not set_reason(session, 99, "none")
        assert last_sent_slot(session, "nightly", left_out="again") == at(0)
        assert last_sent_slot(session, "nightly", completed="by hand", left_out="again") == at(1)


def test_begun_runs_are_those_that_acted_and_are_not_done(database: Database) -> None:
    acted(database, 0, end="failed")
    broken = acted(database, 1, end="failed")
    acted(database, 2, end="succeeded", rows=(8, 8, 0, 0))
    acted(database, 3, end="failed", rows=(8, 5, 3, 0))
    settled(database, "failed", 4)
    canceled = acted(database, 5, end="canceled")
    going = acted(database, 6, end=None)
    with database.read() as session:
        found = [run.id for run in begun_runs(session, "nightly", after=at(0), other_than=99)]
        assert found == [broken, canceled, going]
        assert len(begun_runs(session, "nightly", after=None, other_than=broken)) == 3


def test_a_run_that_goes_on_is_begun_for_those_after_it(database: Database) -> None:
    first = claimed(database, new_run("nightly", 0)).id
    with database.read() as session:
        assert [run.id for run in begun_runs(session, "nightly", after=None, other_than=first + 1)] == [first]
        assert begun_runs(session, "nightly", after=None, other_than=first - 1) == []


def test_a_new_run_comes_back_as_it_was_put(database: Database) -> None:
    with database.write() as session:
        put_job(session, name="nightly", origin="file", definition={"v": 1}, now=NOON)
        put_job(session, name="nightly", origin="file", definition={"v": 2}, now=NOON)
    (number,) = stored(database, new_run(run_time=at(10), definition={"v": 2, "overlap": "queue"}))
    assert run_of(database, number) == StoredRun(
        id=number,
        job="nightly",
        scheduled_time=NOON,
        run_time=at(10),
        kind="schedule",
        repeat=0,
        retry_of=None,
        state="waiting",
        phase=None,
        outcome=None,
        reason=None,
        failure_kind=None,
        failure_code=None,
        failure_message=None,
        attempt=0,
        rows_read=0,
        rows_accepted=0,
        rows_rejected=0,
        rows_unchanged=0,
        skipped=0,
        first_slot=None,
        definition={"v": 2, "overlap": "queue"},
        revision=2,
        owner=None,
        token=None,
        claim_expires_at=None,
        cancel_requested_at=None,
        created_at=NOON,
        started_at=None,
        finished_at=None,
        progress={},
    )
    with database.read() as session:
        assert get_run(session, number + 1) is None


def test_a_row_of_skipped_slots_is_finished_at_once(database: Database) -> None:
    skipped = new_run(minutes=9, state="finished", outcome="skipped", reason="late", skipped=4, first_slot=at(6))
    (number,) = stored(database, skipped)
    run = run_of(database, number)
    assert (run.state, run.outcome, run.reason, run.skipped) == ("finished", "skipped", "late", 4)
    assert (run.first_slot, run.scheduled_time, run.finished_at) == (at(6), at(9), NOON)


def test_a_slot_is_stored_once_and_each_number_comes_back_at_its_place(database: Database) -> None:
    first = [new_run(minutes=minute) for minute in range(0, 10, 2)]
    second = [new_run(minutes=minute) for minute in range(10)]
    with database.write() as session:
        numbers = insert_runs(session, first, now=NOON)
        assert insert_runs(session, [], now=NOON) == []
    with database.write() as session:
        others = insert_runs(session, [*second, second[1]], now=at(1))
    assert [number is None for number in others] == [True, False] * 5 + [True]
    assert len({*numbers, *others} - {None}) == 10
    for run, number in [*zip(first, numbers, strict=True), *zip(second, others, strict=False)]:
        if number is not None:
            assert run_of(database, number).scheduled_time == run.scheduled_time


def test_job_slot_kind_and_repeat_make_a_run(database: Database) -> None:
    base = new_run(kind="retry")
    others = [
        replace(base, job="other"),
        replace(base, job="Nightly"),
        replace(base, scheduled_time=at(1)),
        replace(base, kind="manual"),
        replace(base, kind="schedule"),
        replace(base, repeat=1, retry_of=7),
    ]
    assert len(set(stored(database, base, *others))) == 7
    with database.write() as session:
        same = [replace(base, run_time=at(5)), replace(base, definition={}), replace(base, retry_of=1)]
        assert insert_runs(session, same, now=NOON) == [None] * 3


def test_ten_thousand_slots_go_in_and_none_goes_in_twice(database: Database) -> None:
    definitions = [{"number": number} for number in range(2000)]
    runs = [new_run(f"job-{number % 2000}", number, definition=definitions[number % 2000]) for number in range(10_000)]
    numbers = stored(database, *runs)
    assert len(set(numbers)) == 10_000
    with database.write() as session:
        assert insert_runs(session, runs, now=at(1)) == [None] * 10_000
    for place in (0, 4_711, 9_999):
        run = run_of(database, numbers[place])
        assert (run.job, run.scheduled_time, run.definition) == (
            runs[place].job,
            runs[place].scheduled_time,
            runs[place].definition,
        )


def test_a_run_keeps_the_definition_that_it_was_stored_with(database: Database) -> None:
    (number,) = stored(database, new_run(definition={"query": "old"}))
    with database.write() as session:
        put_job(session, name="nightly", origin="file", definition={"query": "new"}, now=at(1))
    assert run_of(database, number).definition == {"query": "old"}
    assert run_of(database, number).revision == 0


def test_a_waiting_run_that_did_nothing_outside_is_canceled_at_once(database: Database) -> None:
    (number,) = stored(database, new_run())
    tried = claimed(database, new_run("other"))
    with database.write() as session:
        postpone(session, tried.id, token_of(tried), now=at(1), run_time=at(60), failure=("transient", "E", "m"))
        assert request_cancel(session, number, now=at(2))
        assert not request_cancel(session, number, now=at(3))
        assert request_cancel(session, tried.id, now=at(2))
        assert not request_cancel(session, 4711, now=at(2))
    for run in (run_of(database, number), run_of(database, tried.id)):
        assert (run.state, run.outcome, run.reason) == ("finished", "canceled", "canceled while it waited")
        assert (run.finished_at, run.cancel_requested_at) == (at(2), at(2))


def test_a_waiting_run_that_did_something_outside_is_left_to_who_can_undo_it(database: Database) -> None:
    run = claimed(database)
    with database.write() as session:
        put_job(session, name="nightly", origin="file", definition={}, now=NOON)
        append(session, run.id, token_of(run), LedgerRow(step="create", mark="intended", at=NOON))
        postpone(session, run.id, token_of(run), now=at(1), run_time=at(60), failure=("transient", "E", "m"))
        disable_job(session, "nightly", by="person", reason="x", now=at(1))
        assert next_waiting_time(session) == at(60)  # what has started goes on to its end
        assert request_cancel(session, run.id, now=at(2))
        assert next_waiting_time(session) == at(2), "although the job is disabled"
    found = run_of(database, run.id)
    assert (found.state, found.cancel_requested_at, found.run_time) == ("waiting", at(2), at(2))


def test_a_running_run_is_only_asked_to_stop(database: Database) -> None:
    run = claimed(database)
    with database.write() as session:
        assert request_cancel(session, run.id, now=at(2))
    found = run_of(database, run.id)
    assert (found.state, found.token, found.cancel_requested_at) == ("running", run.token, at(2))


def test_a_newer_slot_replaces_older_ones_that_never_started_and_no_others(database: Database) -> None:
    begun = claimed(database, new_run(minutes=0))
    with database.write() as session:
        release(session, begun.id, token_of(begun), now=at(1))
    running = claimed(database, new_run(minutes=1))
    older = stored(database, new_run(minutes=2), new_run(minutes=3))
    others = stored(database, new_run(minutes=4), new_run(minutes=2, kind="manual"), new_run("other", 2))
    with database.write() as session:
        assert replace_waiting(session, "nightly", before=at(4), reason="a newer slot", now=at(5)) == 2
        assert replace_waiting(session, "nightly", before=at(4), reason="a newer slot", now=at(6)) == 0
    for number in older:
        run = run_of(database, number)
        assert (run.state, run.outcome, run.reason) == ("finished", "skipped", "a newer slot")
        assert (run.skipped, run.finished_at) == (1, at(5))
    assert [run_of(database, number).state for number in others] == ["waiting"] * 3
    assert run_of(database, running.id) == running
    assert run_of(database, begun.id).state == "waiting"


def test_a_job_is_crowded_when_more_is_due_than_can_start_one_by_one(database: Database) -> None:
    claimed(database, new_run("goes on", 0))
    stored(database, new_run("goes on", 1))
    stored(database, new_run("two wait", 1), new_run("two wait", 2), new_run("two wait", 60))
    stored(database, new_run("one waits", 1), new_run("not due", 60), new_run("not due", 61))
    stored(database, new_run("by hand", 1, kind="manual"), new_run("by hand", 2, kind="manual"))
    with database.read() as session:
        found = crowded_jobs(session, now=at(5))
    assert found == {
        "goes on": CrowdedJob(newest=at(1), running=True),
        "two wait": CrowdedJob(newest=at(2), running=False),
    }


def test_what_has_not_ended_comes_oldest_slot_first(database: Database) -> None:
    settled(database, "succeeded", 0)
    late, early = stored(database, new_run(minutes=9), new_run(minutes=2))
    running = claimed(database, new_run(minutes=5))
    stored(database, new_run("other"))
    with database.read() as session:
        assert [run.id for run in waiting_or_running(session, "nightly")] == [early, running.id, late]


def test_runs_are_listed_newest_first_by_job_and_outcome(database: Database) -> None:
    ok = settled(database, "succeeded", 0)
    bad = settled(database, "failed", 1)
    (skipped,) = stored(database, new_run(minutes=2, state="finished", outcome="skipped"))
    (other,) = stored(database, new_run("other", 0))
    with database.read() as session:

        def listed(**wanted: object) -> list[int]:
            return [run.id for run in list_runs(session, **wanted)]  # type: ignore[arg-type] # one helper for all

        assert listed() == [other, skipped, bad, ok]
        assert listed(limit=2) == [other, skipped]
        assert listed(limit=0) == []
        assert listed(job="nightly") == [skipped, bad, ok]
        assert listed(job="nightly", outcomes=["failed", "succeeded"]) == [bad, ok]
        assert listed(outcomes=[]) == []
        assert listed(job="none") == []


def test_the_last_run_of_each_job_is_the_one_that_ended_last_and_no_skipped_one(database: Database) -> None:
    with database.write() as session:
        for name in ("nightly", "hourly", "fresh"):
            put_job(session, name=name, origin="file", definition={}, now=NOON)
    settled(database, "failed", 0, ended=1)
    last = settled(database, "succeeded", 1, ended=9)
    settled(database, "failed", 2, ended=5)
    stored(database, new_run(minutes=99, state="finished", outcome="skipped"), new_run(minutes=100))
    hourly = settled(database, "canceled", 0, job="hourly", ended=2)
    settled(database, "succeeded", 0, job="removed", ended=2)
    with database.read() as session:
        found = last_runs(session)
    assert {job: run.id for job, run in found.items()} == {"nightly": last, "hourly": hourly}


def test_the_next_waiting_time_is_that_of_a_run_which_could_be_claimed(database: Database) -> None:
    with database.read() as session:
        assert next_waiting_time(session) is None
    with database.write() as session:
        put_job(session, name="off", origin="file", definition={}, now=NOON)
        disable_job(session, "off", by="person", reason="x", now=NOON)
    stored(database, new_run("off", 1))
    running = claimed(database, new_run(minutes=0))
    stored(database, new_run(minutes=2))
    stored(database, new_run("other", 30), new_run("other", 40))
    with database.write() as session:
        assert next_waiting_time(session) == at(30)
        settle(session, running.id, token_of(running), now=at(3), outcome="succeeded")
        assert next_waiting_time(session) == at(2), "it may have passed"
    stored(database, new_run("off", 0, kind="manual"))
    with database.read() as session:
        assert next_waiting_time(session) == at(0)


@pytest.mark.parametrize("overlap", ["allow", "queue"])
def test_two_runs_of_a_job_go_on_at_once_only_if_the_definition_says_so(database: Database, overlap: str) -> None:
    claimed(database, new_run(minutes=0, definition={"overlap": overlap}))
    (second,) = stored(database, new_run(minutes=1, definition={"overlap": overlap}))
    with database.write() as session:
        assert next_waiting_time(session) == (at(1) if overlap == "allow" else None)
        claim = claim_run(session, second, owner="b", now=at(1), lease_seconds=60)
    assert (claim is not None) == (overlap == "allow")


def test_what_waits_and_has_not_started_takes_on_a_new_definition_and_its_delay(database: Database) -> None:
    with database.write() as session:
        put_job(session, name="nightly", origin="cli", definition={"v": 1}, now=NOON)
    hour = at(60)
    changes: list[dict[str, Any]] = [
        {"minutes": 0, "run_time": hour},
        {"minutes": 1, "run_time": hour},
        {"minutes": 2, "kind": "manual"},
        {"minutes": 3, "kind": "retry"},
        {"minutes": 4},
        {"minutes": 5, "run_time": hour, "job": "other"},
    ]
    slots = stored(database, *(new_run(**each) for each in changes))
    with database.write() as session:
        put_job(session, name="nightly", origin="cli", definition={"v": 2, "overlap": "allow"}, now=at(5))
        tried = claim_run(session, slots[4], owner="a", now=at(5), lease_seconds=60)
        assert tried is not None
        token = token_of(tried)
        postpone(session, slots[4], token, now=at(6), run_time=at(9), failure=("transient", "X", "x"))
        count = redefine_waiting(session, "nightly", {"v": 2, "overlap": "allow"}, delay=timedelta(minutes=10))
    assert count == 3
    with database.read() as session:
        found = [get_run(session, slot) for slot in slots]
    assert [(run.definition.get("v"), run.run_time, run.revision) for run in found if run] == [
        (2, at(10), 2),
        (2, at(11), 2),
        (2, at(2), 2),
        (None, at(3), 1),
        (None, at(9), 1),
        (None, hour, 0),
    ]
    with database.write() as session:
        both = claim_runs(session, owner="b", now=at(30), lease_seconds=60, limit=2)
    assert [run.scheduled_time for run in both] == [at(2), at(3)], "those that are due; two at once, as overlap says"
