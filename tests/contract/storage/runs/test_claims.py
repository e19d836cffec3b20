"""The right to execute a run: who gets it, how long, and what a process may do that lost it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from support.storage import NOON, at, claimed, new_run, stored, token_of

from storage.database import ClaimLost, Database, StorageError
from storage.engine.server_clock import shared_now
from storage.jobs.jobs import disable_job, put_job
from storage.runs.ledger import LedgerRow, append, entries
from storage.runs.rejections import RejectedValues, count
from storage.runs.runs import (
    StoredAttempt,
    StoredRun,
    attempts,
    cancel_requested,
    check_token,
    claim_run,
    claim_runs,
    expired_claims,
    get_run,
    holds,
    postpone,
    release,
    renew_claims,
    request_cancel,
    set_phase,
    set_progress,
    settle,
    take_back,
)

FAILURE = ("transient", "SERVER_UNAVAILABLE", "try later")


def claim(database: Database, *, now: float = 60, limit: int = 100, owner: str = "node-a") -> list[StoredRun]:
    with database.write() as session:
        return claim_runs(session, owner=owner, now=at(now), lease_seconds=60, limit=limit)


def run_of(database: Database, number: int) -> StoredRun:
    with database.read() as session:
        run = get_run(session, number)
    assert run is not None
    return run


def tries(database: Database, number: int) -> list[StoredAttempt]:
    with database.read() as session:
        return attempts(session, number)


def test_a_claimed_run_is_running_with_owner_token_and_expiry(database: Database) -> None:
    (number,) = stored(database, new_run())
    (run,) = claim(database, now=5)
    assert run == run_of(database, number)
    assert (run.id, run.state, run.owner, run.attempt) == (number, "running", "node-a", 1)
    assert (run.started_at, run.claim_expires_at) == (at(5), at(6))
    assert len(token_of(run)) == 32
    assert claim(database) == []
    assert tries(database, number) == [
        StoredAttempt(
            number=1,
            owner="node-a",
            started_at=at(5),
            ended_at=None,
            ending=None,
            failure_kind=None,
            failure_code=None,
            failure_message=None,
        )
    ]


def test_the_run_due_longest_goes_first_and_none_before_its_time(database: Database) -> None:
    c, a, b, later = stored(database, new_run("c", 3), new_run("a", 1), new_run("b", 1), new_run("d", 10.001))
    assert [run.id for run in claim(database, now=10, limit=2)] == [a, b]
    assert claim(database, now=10, limit=0) == []
    assert claim(database, now=10, limit=-1) == []
    assert [run.id for run in claim(database, now=10)] == [c]
    assert [run.id for run in claim(database, now=11)] == [later]


def test_one_run_of_a_job_at_a_time_in_order_and_no_job_holds_up_another(database: Database) -> None:
    busy = stored(database, *(new_run("busy", minute) for minute in range(8)))
    (calm,) = stored(database, new_run("calm", 30))
    first = claim(database, limit=2)
    assert [run.id for run in first] == [busy[0], calm]
    assert claim(database) == []
    with database.write() as session:
        settle(session, busy[0], token_of(first[0]), now=at(60), outcome="succeeded")
    assert [run.id for run in claim(database)] == [busy[1]]


def test_a_job_that_allows_overlap_gets_all_of_its_runs_at_once(database: Database) -> None:
    numbers = stored(database, *(new_run(minutes=minute, definition={"overlap": "allow"}) for minute in range(5)))
    assert [run.id for run in claim(database)] == numbers


def test_a_run_that_must_be_alone_waits_for_one_that_need_not_be(database: Database) -> None:
    """The definition may have changed between the two slots."""
    free = claimed(database, new_run(minutes=0, definition={"overlap": "allow"}))
    (alone,) = stored(database, new_run(minutes=1, definition={"overlap": "queue"}))
    assert claim(database) == []
    with database.write() as session:
        assert claim_run(session, alone, owner="b", now=at(2), lease_seconds=60) is None
        settle(session, free.id, token_of(free), now=at(3), outcome="succeeded")
    assert [run.id for run in claim(database)] == [alone]


def test_the_database_itself_keeps_two_runs_of_a_job_apart(database: Database) -> None:
    claimed(database, new_run(minutes=0))
    (second,) = stored(database, new_run(minutes=1))
    with pytest.raises(StorageError), database.write() as session:
        session.execute(text("UPDATE run SET state = 'running', token = 'x' WHERE id = :id"), {"id": second})
    assert run_of(database, second).state == "waiting"


def test_of_a_disabled_job_only_what_a_person_asked_for_is_claimed(database: Database) -> None:
    with database.write() as session:
        put_job(session, name="nightly", origin="file", definition={}, now=NOON)
        disable_job(session, "nightly", by="daemon", reason="x", now=NOON)
    slot, manual, backfill = stored(
        database, new_run(minutes=0), new_run(minutes=1, kind="manual"), new_run(minutes=2, kind="backfill")
    )
    for wanted in (manual, backfill):
        (run,) = claim(database)
        assert run.id == wanted
        with database.write() as session:
            settle(session, run.id, token_of(run), now=at(5), outcome="succeeded")
    assert claim(database) == []
    with database.write() as session:
        assert claim_run(session, slot, owner="cli", now=at(5), lease_seconds=60) is not None


def test_one_run_can_be_claimed_by_its_number_before_its_time_and_once(database: Database) -> None:
    (number,) = stored(database, new_run(minutes=500))
    with database.write() as session:
        run = claim_run(session, number, owner="cli", now=NOON, lease_seconds=60)
        assert claim_run(session, number, owner="cli", now=NOON, lease_seconds=60) is None
        assert claim_run(session, 4711, owner="cli", now=NOON, lease_seconds=60) is None
    assert run is not None
    assert (run.owner, run.attempt, run.claim_expires_at) == ("cli", 1, at(1))


def test_a_claim_in_a_transaction_that_fails_was_never_made(database: Database) -> None:
    (number,) = stored(database, new_run())

    def broken() -> None:
        with database.write() as session:
            claim_runs(session, owner="a", now=at(1), lease_seconds=60, limit=1)
            raise LookupError

    with pytest.raises(LookupError):
        broken()
    assert run_of(database, number).attempt == 0
    assert tries(database, number) == []


def test_renewing_moves_the_expiry_of_ones_own_running_claims_only(database: Database) -> None:
    mine, other = claimed(database, new_run("a")), claimed(database, new_run("b"), owner="node-b")
    ended = claimed(database, new_run("c"))
    with database.write() as session:
        settle(session, ended.id, token_of(ended), now=at(1), outcome="succeeded")
        assert renew_claims(session, owner="node-a", now=at(7), lease_seconds=30) == 1
        assert renew_claims(session, owner="nobody", now=at(7), lease_seconds=30) == 0
    assert run_of(database, mine.id).claim_expires_at == at(7.5)
    assert run_of(database, other.id).claim_expires_at == at(1)
    assert run_of(database, ended.id).claim_expires_at is None


def test_a_claim_holds_until_it_is_taken_and_can_be_asked_for_its_expiry(database: Database) -> None:
    run = claimed(database)
    token = token_of(run)
    for transaction in (database.read, database.write):
        with transaction() as session:
            assert holds(session, run.id, token)
            assert holds(session, run.id, token, at(0.99))
            assert not holds(session, run.id, token, at(1))
            assert not holds(session, run.id, "another")
            assert not holds(session, run.id + 1, token)
            check_token(session, run.id, token)
            with pytest.raises(ClaimLost) as lost:
                check_token(session, run.id, "another")
        assert lost.value.run_id == run.id


Write = Callable[[Any, int, str], None]
WRITES: dict[str, Write] = {
    "check_token": check_token,
    "set_phase": lambda s, run, token: set_phase(s, run, token, phase="export"),
    "set_progress": lambda s, run, token: set_progress(s, run, token, progress={"sent": 1}),
    "settle": lambda s, run, token: settle(s, run, token, now=at(9), outcome="succeeded", rows=(9, 9, 0, 0)),
    "postpone": lambda s, run, token: postpone(s, run, token, now=at(9), run_time=at(10), failure=FAILURE),
    "release": lambda s, run, token: release(s, run, token, now=at(9)),
    "append": lambda s, run, token: append(
        s,
        run,
        token,
        LedgerRow(step="create", mark="intended", at=at(9)),
        rejected=[RejectedValues(number=1, values={}, code="C", message="m")],
    ),
}


def lose_to_another(database: Database, run: StoredRun) -> None:
    with database.write() as session:
        assert take_back(session, [run.id], now=at(5)) == 1
        assert claim_run(session, run.id, owner="node-b", now=at(5), lease_seconds=60) is not None


def lose_to_nobody(database: Database, run: StoredRun) -> None:
    with database.write() as session:
        assert take_back(session, owners=[str(run.owner)], now=NOON) == 1


def end_it(database: Database, run: StoredRun) -> None:
    with database.write() as session:
        settle(session, run.id, token_of(run), now=at(5), outcome="failed", failure=FAILURE)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("lose", [lose_to_another, lose_to_nobody, end_it])
def test_whoever_lost_the_claim_writes_nothing(
    database: Database, lose: Callable[[Database, StoredRun], None], write: Write
) -> None:
    run = claimed(database)
    lose(database, run)
    before, tried = run_of(database, run.id), tries(database, run.id)
    with pytest.raises(ClaimLost), database.write() as session:
        write(session, run.id, token_of(run))
    assert (run_of(database, run.id), tries(database, run.id)) == (before, tried)
    with database.read() as session:
        assert (entries(session, run.id), count(session, run.id)) == ([], 0)


def test_phase_and_progress_are_kept_while_and_after_the_run_goes_on(database: Database) -> None:
    run = claimed(database)
    with database.write() as session:
        set_phase(session, run.id, token_of(run), phase="query")
        set_progress(session, run.id, token_of(run), progress={"read": 10, "batches": [1, 2]})
        set_phase(session, run.id, token_of(run), phase="export")
    found = run_of(database, run.id)
    assert (found.phase, found.progress) == ("export", {"read": 10, "batches": [1, 2]})
    with database.write() as session:
        settle(session, run.id, token_of(run), now=at(1), outcome="succeeded")
    assert run_of(database, run.id).phase == "export"


def test_a_settled_run_has_its_outcome_and_counts_and_no_claim(database: Database) -> None:
    run = claimed(database)
    with database.write() as session:
        settle(
            session,
            run.id,
            token_of(run),
            now=at(3),
            outcome="partial",
            reason="2 rows were rejected",
            failure=("data", "REQUIRED_FIELD_MISSING", "LastName"),
            rows=(10, 7, 2, 1),
        )
    found = run_of(database, run.id)
    assert (found.state, found.outcome, found.reason) == ("finished", "partial", "2 rows were rejected")
    assert (found.failure_kind, found.failure_code, found.failure_message) == (
        "data",
        "REQUIRED_FIELD_MISSING",
        "LastName",
    )
    assert (found.rows_read, found.rows_accepted, found.rows_rejected, found.rows_unchanged) == (10, 7, 2, 1)
    assert (found.owner, found.token, found.claim_expires_at, found.finished_at) == (None, None, None, at(3))
    (tried,) = tries(database, run.id)
    assert (tried.ending, tried.ended_at, tried.failure_code) == ("partial", at(3), "REQUIRED_FIELD_MISSING")


def test_a_success_after_a_failed_try_forgets_the_failure_but_not_the_try(database: Database) -> None:
    first = claimed(database)
    with database.write() as session:
        postpone(session, first.id, token_of(first), now=at(1), run_time=at(10), failure=FAILURE)
    waiting = run_of(database, first.id)
    assert (waiting.state, waiting.run_time, waiting.attempt, waiting.failure_code) == (
        "waiting",
        at(10),
        1,
        "SERVER_UNAVAILABLE",
    )
    assert claim(database, now=9) == []
    (second,) = claim(database, now=10, owner="node-b")
    assert (second.attempt, second.started_at) == (2, NOON)
    assert second.token != first.token
    with database.write() as session:
        settle(session, second.id, token_of(second), now=at(11), outcome="succeeded")
    assert run_of(database, first.id).failure_code is None
    assert [
        (t.number, t.owner, t.started_at, t.ended_at, t.ending, t.failure_code) for t in tries(database, first.id)
    ] == [
        (1, "node-a", at(0), at(1), "failed", "SERVER_UNAVAILABLE"),
        (2, "node-b", at(10), at(11), "succeeded", None),
    ]


def test_a_released_run_can_be_claimed_at_once_and_the_try_does_not_count(database: Database) -> None:
    first = claimed(database)
    with database.write() as session:
        release(session, first.id, token_of(first), now=at(1))
    assert (run_of(database, first.id).state, run_of(database, first.id).attempt) == ("waiting", 0)
    (second,) = claim(database, now=1)
    assert second.attempt == 1
    assert [(tried.number, tried.ending) for tried in tries(database, first.id)] == [(1, "released"), (1, None)]


def test_only_claims_that_were_not_renewed_in_time_have_expired(database: Database) -> None:
    late, fresh = claimed(database, new_run("a")), claimed(database, new_run("b"), owner="node-b")
    with database.write() as session:
        renew_claims(session, owner="node-b", now=at(1), lease_seconds=60)
    stored(database, new_run("c"))
    with database.read() as session:
        assert expired_claims(session, now=at(0.99)) == []
        assert [run.id for run in expired_claims(session, now=at(1))] == [late.id]
        assert [run.id for run in expired_claims(session, now=at(2))] == [late.id, fresh.id]


def test_a_claim_that_ends_later_than_any_lease_is_of_before_the_clock_was_set_back(database: Database) -> None:
    run = claimed(database)  # for 60 s
    hour = timedelta(hours=1)
    with database.write() as session:
        assert expired_claims(session, now=NOON - hour) == []
        assert expired_claims(session, now=NOON - hour, longest=hour + timedelta(seconds=60)) == []
        assert [each.id for each in expired_claims(session, now=NOON - hour, longest=hour)] == [run.id]
        assert take_back(session, [run.id], now=NOON - hour) == 0
        assert take_back(session, [run.id], now=NOON - hour, longest=hour) == 1


def test_a_lease_counts_from_the_clock_of_leases(database: Database) -> None:
    stored(database, new_run("a"), new_run("b"))
    with database.write() as session:
        (one,) = claim_runs(session, owner="x", now=at(1), lease_seconds=60, limit=1, lease_from=at(10))
        other = claim_run(session, 2, owner="x", now=at(1), lease_seconds=60, lease_from=at(10))
        assert other is not None
        assert [run.id for run in expired_claims(session, now=at(11))] == [one.id, other.id]
        assert expired_claims(session, now=at(10.99)) == []


def test_the_clock_of_leases_is_the_servers_where_there_is_one(database: Database) -> None:
    with database.read() as session:
        first, second = shared_now(session, NOON), shared_now(session, NOON)
    if database.kind == "sqlite":
        assert (first, second) == (NOON, NOON)
    else:
        assert NOON != first < second, "it goes on within a transaction"


def test_a_claim_renewed_since_it_was_seen_expired_is_not_taken_back(database: Database) -> None:
    run = claimed(database)
    with database.write() as session:
        renew_claims(session, owner="node-a", now=at(5), lease_seconds=60)
        assert take_back(session, [run.id, 4711], now=at(5)) == 0
        assert take_back(session, now=at(5)) == 0
    assert run_of(database, run.id).state == "running"


def test_what_is_taken_back_waits_again_with_its_try_counted_and_its_ledger_kept(database: Database) -> None:
    run = claimed(database)
    other = claimed(database, new_run("other"), owner="node-b")
    with database.write() as session:
        set_phase(session, run.id, token_of(run), phase="export")
        append(session, run.id, token_of(run), LedgerRow(step="create", mark="intended", at=NOON))
        assert take_back(session, owners=["node-a", "node-z"], now=at(0.1)) == 1, "dead owners need not have expired"
    found = run_of(database, run.id)
    assert (found.state, found.owner, found.token, found.attempt, found.phase) == ("waiting", None, None, 1, "export")
    assert [(tried.ending, tried.ended_at) for tried in tries(database, run.id)] == [("interrupted", at(0.1))]
    assert run_of(database, other.id) == other
    (again,) = claim(database, now=1)
    assert (again.id, again.attempt) == (run.id, 2)
    with database.read() as session:
        assert [entry.step for entry in entries(session, run.id)] == ["create"]


def test_many_claims_are_taken_back_at_once(database: Database) -> None:
    stored(database, *(new_run(f"job-{number}") for number in range(1200)))
    taken = [*claim(database, limit=5000), *claim(database, limit=5000), *claim(database, limit=5000)]
    assert len(taken) == 1200
    with database.write() as session:
        assert take_back(session, [run.id for run in taken], now=at(1000)) == 1200


def test_an_owner_is_told_which_of_its_runs_to_stop(database: Database) -> None:
    mine, other = claimed(database, new_run("a")), claimed(database, new_run("b"), owner="node-b")
    claimed(database, new_run("c"))
    with database.write() as session:
        for run in (mine, other):
            request_cancel(session, run.id, now=at(1))
    with database.read() as session:
        assert cancel_requested(session, "node-a") == {mine.id}
        assert cancel_requested(session, "nobody") == set()
