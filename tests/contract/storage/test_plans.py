"""What a daemon asks every second must not cost more the longer its history is: SQLite says how it would search."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event
from support.storage import NOON, at, new_run, stored

from storage.database import Database
from storage.jobs.jobs import put_job, remove_job
from storage.runs.runs import (
    cancel_requested,
    claim_run,
    claim_runs,
    expired_claims,
    insert_runs,
    last_runs,
    last_verdict,
    next_waiting_time,
    renew_claims,
    replace_waiting,
    take_back,
    waiting_or_running,
)

QUESTIONS: dict[str, Callable[[Any], object]] = {
    "insert": lambda s: insert_runs(s, [new_run("a", 99)], now=NOON),
    "claim": lambda s: claim_runs(s, owner="x", now=at(60), lease_seconds=60, limit=9),
    "claim one": lambda s: claim_run(s, 1, owner="x", now=at(60), lease_seconds=60),
    "renew": lambda s: renew_claims(s, owner="x", now=at(60), lease_seconds=60),
    "expired": lambda s: expired_claims(s, now=at(60)),
    "take back": lambda s: take_back(s, [1, 2], owners=["x"], now=at(60)),
    "cancel": lambda s: cancel_requested(s, "x"),
    "next": next_waiting_time,
    "queue": lambda s: waiting_or_running(s, "a"),
    "replace": lambda s: replace_waiting(s, "a", before=at(9), reason="r", now=at(60)),
    "last": last_runs,
    "verdict": lambda s: last_verdict(s, "a", other_than=1),
    "remove": lambda s: remove_job(s, "a", now=at(60)),
}
RUNS = ("run", "other", "older")
OF_WHAT_IS_OPEN = ("run_due", "run_queue", "run_claimed", "run_owner", "run_running", "run_last")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_no_question_of_every_second_reads_what_has_ended(database: Database, ask: Callable[[Any], object]) -> None:
    with database.write() as session:
        put_job(session, name="a", origin="file", definition={}, now=NOON)
    stored(database, new_run("a"), new_run("a", 1), new_run("b"))
    plans: list[str] = []

    def explain(connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in plan)

    event.listen(database._engine, "before_cursor_execute", explain)
    with database.write() as session:
        ask(session)
    event.remove(database._engine, "before_cursor_execute", explain)
    of_runs = [plan for plan in plans if plan.startswith(("SEARCH", "SCAN")) and plan.split()[1] in RUNS]
    assert of_runs or ask is QUESTIONS["insert"]
    for plan in of_runs:
        assert "INTEGER PRIMARY KEY" in plan or any(name in plan for name in OF_WHAT_IS_OPEN), plan
