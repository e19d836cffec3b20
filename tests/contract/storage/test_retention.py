"""What is thrown away, what never is, and that a large past goes in small pieces."""

import pytest
from sqlalchemy import text
from support.storage import NOON, at, claimed, new_run, stored, token_of

from storage import retention
from storage.database import Database
from storage.jobs.jobs import put_job, remove_job
from storage.retention import prune_runs, pruned_through, run_states
from storage.runs import ledger, rejections
from storage.runs.ledger import LedgerRow
from storage.runs.rejections import RejectedValues
from storage.runs.runs import claim_run, list_runs, settle


def ended(database: Database, job: str, minutes: float, outcome: str = "succeeded", **changes: object) -> int:
    """Store a run of a slot at so many minutes after noon that ended in that minute."""
    run = claimed(database, new_run(job, minutes, **changes))
    with database.write() as session:
        settle(session, run.id, token_of(run), now=at(minutes), outcome=outcome)
    return run.id


def skipped(database: Database, job: str, minutes: float) -> int:
    """Store a slot that was passed over; it ends when it is stored, at noon."""
    (number,) = stored(database, new_run(job, minutes, state="finished", outcome="skipped", reason="r", skipped=1))
    return number


def define(database: Database, *names: str) -> None:
    with database.write() as session:
        for name in names:
            put_job(session, name=name, origin="file", definition={"query": "select 1"}, now=NOON)


def prune(database: Database, minutes: float) -> list[int]:
    """Prune in as many transactions as it takes, and return the numbers of the runs that are left."""
    after: int | None = 0
    while after is not None:
        with database.write() as session:
            after = prune_runs(session, before=at(minutes), after=after).after
    with database.read() as session:
        return sorted(run.id for run in list_runs(session, limit=10_000))


def test_runs_that_ended_before_then_go_with_all_that_hangs_on_them(database: Database) -> None:
    define(database, "a")
    run = claimed(database, new_run("a", 1))
    row = RejectedValues(number=1, values={"x": "y"}, code="c", message="m")
    with database.write() as session:
        ledger.append(session, run.id, token_of(run), LedgerRow(step="s", mark="m", at=NOON), rejected=[row])
        settle(session, run.id, token_of(run), now=at(1), outcome="partial")
    kept = [ended(database, "a", 10), ended(database, "a", 11)]
    assert prune(database, 10) == kept
    with database.read() as session:
        for name in ("ledger", "rejected_row"):
            assert session.execute(text(f"SELECT count(*) FROM {name}")).scalar() == 0  # noqa: S608 - two names of ours
        assert session.execute(text("SELECT count(*) FROM attempt")).scalar() == 2
        assert pruned_through(session, "a") == at(1)


def test_the_newest_run_of_a_job_and_the_last_that_did_anything_stay_however_old(database: Database) -> None:
    define(database, "a", "b")
    ended(database, "a", 1)
    last = ended(database, "a", 2, "failed")
    skipped(database, "a", 3)
    newest = skipped(database, "a", 4)
    only = ended(database, "b", 1)
    assert prune(database, 10_000) == [last, newest, only]
    with database.read() as session:
        assert (pruned_through(session, "a"), pruned_through(session, "b")) == (at(3), None)


def test_what_waits_or_runs_stays_and_what_it_repeats(database: Database) -> None:
    define(database, "a")
    repeated, other, again = (ended(database, "a", minute, "failed") for minute in (1, 2, 3))
    waiting, running = stored(
        database,
        new_run("a", 1, kind="retry", retry_of=repeated),
        new_run("a", 3, kind="retry", retry_of=again),
    )
    with database.write() as session:
        assert claim_run(session, running, owner="x", now=NOON, lease_seconds=9)
    last = stored(database, new_run("a", 9))
    left = prune(database, 10_000)
    assert left == [repeated, again, waiting, running, *last]
    assert other not in left


def test_a_job_that_was_removed_leaves_no_run_behind(database: Database) -> None:
    define(database, "a")
    ended(database, "a", 1)
    with database.write() as session:
        remove_job(session, "a", now=at(2))
    assert prune(database, 10_000) == []
    with database.read() as session:
        assert pruned_through(session, "a") == at(1)


def test_manual_runs_go_too_but_move_no_mark_and_a_mark_never_moves_back(database: Database) -> None:
    define(database, "a")
    ended(database, "a", 5)
    ended(database, "a", 6, kind="manual")
    keep = ended(database, "a", 20)
    assert prune(database, 10) == [keep]
    late = claimed(database, new_run("a", 2))  # an old slot that took its time
    with database.write() as session:
        settle(session, late.id, token_of(late), now=at(30), outcome="succeeded")
    last = ended(database, "a", 40)
    assert prune(database, 35) == [last]
    with database.read() as session:
        assert pruned_through(session, "a") == at(20)


def test_a_large_past_goes_in_small_transactions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RUNS_AT_ONCE", 4)
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 10)
    define(database, "a")
    numbers = [ended(database, "a", minute, "partial") for minute in range(1, 11)]
    with database.write() as session:
        for number in numbers:
            refused = [RejectedValues(number=row, values={}, code="c", message="m") for row in range(1, 8)]
            rejections.add(session, number, refused)
    steps, after = [], 0
    while after is not None:
        with database.write() as session:
            step = prune_runs(session, before=at(100), after=after)
        steps.append((step.runs, step.rows))
        after = step.after  # type: ignore[assignment] # the loop ends on None
    assert sum(runs for runs, _ in steps) == 9
    assert sum(rows for _, rows in steps) == 63
    assert max(runs for runs, _ in steps) == 4
    assert max(rows for _, rows in steps) == 10
    with database.read() as session:
        assert rejections.count(session, numbers[-1]) == 7


def test_the_states_of_runs_tell_which_ended_and_which_did_something(database: Database) -> None:
    acted = claimed(database, new_run("a", 1))
    with database.write() as session:
        ledger.append(session, acted.id, token_of(acted), LedgerRow(step="s", mark="m", at=NOON))
    done = ended(database, "b", 1, "failed")
    with database.read() as session:
        assert run_states(session, {acted.id, done, 4711}) == {acted.id: (None, True), done: ("failed", False)}
        assert run_states(session, set()) == {}
