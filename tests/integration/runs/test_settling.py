"""What is written with an outcome: the streak, the disable, the notices; and what a full disk cannot undo."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.failures import ExportError, FailureKind, configuration, transient
from exporter.report import ExportReport
from exporter.spool.spool import Spool
from scheduler.config.build import parse
from scheduler.outcomes.outcome import Conclusion, Outcome, conclude_error
from scheduler.outcomes.policy import Policies
from scheduler.outcomes.quota_hold import Hold
from scheduler.runs.cancellation import RunControl
from scheduler.runs.context import RunWork
from scheduler.runs.quota_hold_store import holds
from scheduler.runs.settle import settle
from scheduler.secrets.resolve import register
from storage import notices
from storage.database import Database, open_database
from storage.jobs import jobs
from storage.runs import runs
from storage.runs.runs import NewRun, StoredRun

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ALL = ["failed", "partial", "disabled", "recovered", "succeeded"]
WRONG = conclude_error(configuration("INVALID_FIELD", "No such column"))
BUSY = conclude_error(transient("SERVER_UNAVAILABLE", "later"))
GOOD = Conclusion(outcome=Outcome.SUCCEEDED, report=ExportReport(read=1, accepted=1))
PARTIAL = Conclusion(outcome=Outcome.PARTIAL, report=ExportReport(read=2, accepted=1, rejected=1))
CANCELED = Conclusion(outcome=Outcome.CANCELED)


@pytest.fixture
def life(tmp_path: Path) -> Iterator["Life"]:
    database = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield Life(database, tmp_path)
    database.close()


class Life:
    """The life of one job, run by run, a minute apart."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.directory = directory
        self.minutes = 0
        self.on: list[str] = ALL
        self.definition: dict[str, Any] = {"query": "select 1"}
        self.policies = Policies(retry_limit=0)
        self.define()

    @property
    def now(self) -> datetime:
        return NOON + timedelta(minutes=self.minutes)

    def define(self) -> None:
        with self.database.write() as session:
            jobs.put_job(session, name="job", origin="file", definition=self.definition, now=self.now)

    def work(self, kind: str = "schedule") -> RunWork:
        self.minutes += 1
        new = NewRun(
            job="job",
            scheduled_time=self.now,
            run_time=self.now,
            kind=kind,  # type: ignore[arg-type] # one of the kinds
            definition=self.definition,
        )
        with self.database.write() as session:
            (number,) = runs.insert_runs(session, [new], now=self.now)
            assert number is not None
            run = runs.claim_run(session, number, owner="node", now=self.now, lease_seconds=60)
        assert run is not None
        listed = ", ".join(f'"{word}"' for word in self.on)
        return RunWork(
            database=self.database,
            config=parse(f"[notify]\non = [{listed}]\n"),
            run=run,
            spool_root=self.directory / "spool",
            control=RunControl(timeout=3600),
            clock=lambda: self.now,
        )

    def end(self, *conclusions: Conclusion) -> StoredRun:
        settled = [settle(self.work(), conclusion, self.policies) for conclusion in conclusions]
        return settled[-1]

    def told(self) -> list[tuple[str, str]]:
        """Return kind and subject of what is told since this was asked last."""
        with self.database.write() as session:
            found = notices.claim(session, owner="test", now=self.now, lease_seconds=60, limit=100)
            for notice in found:
                notices.close(session, notice, owner="test", ending="sent", now=self.now)
        return [(notice.kind, notice.subject) for notice in found]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told()]


def test_five_configuration_failures_make_five_notices_and_a_last_one_with_the_disable(life: Life) -> None:
    life.end(*[WRONG] * 5)
    told = life.told()
    counts = [f"job job failed: INVALID_FIELD ({n} of 5 before the job is disabled)" for n in range(1, 6)]
    assert told == [*(("failed", subject) for subject in counts), ("disabled", "job job is disabled")]
    with life.database.read() as session:
        stored = jobs.get_job(session, "job")
    assert stored is not None
    assert (stored.disabled_by, stored.failure_streak) == ("daemon", 5)


def test_a_manual_run_of_a_disabled_job_that_fails_is_told_and_disables_nothing_again(life: Life) -> None:
    life.end(*[WRONG] * 5)
    life.told()
    life.end(WRONG)
    assert life.told() == [("failed", "job job failed: INVALID_FIELD")]


def test_the_first_success_after_failures_of_any_kind_is_told_as_recovery_and_the_next_as_success(life: Life) -> None:
    life.end(GOOD, BUSY, CANCELED, PARTIAL, GOOD, GOOD, WRONG, GOOD)
    assert life.kinds() == ["succeeded", "failed", "partial", "recovered", "succeeded", "failed", "recovered"]


def test_an_attempt_that_is_tried_again_is_no_news(life: Life) -> None:
    life.policies = Policies(retry_limit=1)
    assert life.end(BUSY).state == "waiting"
    assert life.told() == []
    life.end(GOOD)
    assert life.kinds() == ["succeeded"]


def test_what_the_file_asks_for_is_told_and_a_job_may_ask_for_something_else(life: Life) -> None:
    life.on = ["succeeded"]
    life.end(WRONG, GOOD)
    assert life.kinds() == ["succeeded"]
    life.definition = {"query": "select 1", "notify": ["failed"]}
    life.define()
    life.end(WRONG, GOOD)
    assert life.kinds() == ["failed"]
    life.definition = {"query": "select 1", "notify": []}
    life.define()
    life.end(WRONG, PARTIAL, GOOD)
    assert life.kinds() == []


def test_notices_and_outcome_are_one_transaction(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    work = life.work()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the process dies here")

    monkeypatch.setattr(jobs, "record_outcome", fail)
    with pytest.raises(RuntimeError, match="dies here"):
        settle(work, WRONG, life.policies)
    assert life.told() == []
    with life.database.read() as session:
        found = runs.get_run(session, work.run.id)
    assert found is not None
    assert found.state == "running"


def test_the_recipients_of_a_job_are_mailed_besides_what_notify_tells_in_the_same_transaction(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.on = ["failed"]
    email = {"success": ["team@x.org"], "failure": ["ops@x.org"]}
    life.definition = {"query": "select 1", "email": email}
    life.define()
    life.end(GOOD, PARTIAL, WRONG)
    with life.database.write() as session:
        found = notices.claim(session, owner="test", now=life.now, lease_seconds=6000, limit=100)
    assert [(notice.kind, notice.recipients) for notice in found] == [
        ("succeeded", ("team@x.org",)),
        ("partial", ("ops@x.org",)),
        ("failed", ()),
        ("failed", ("ops@x.org",)),
    ]
    work = life.work()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the process dies here")

    monkeypatch.setattr(jobs, "record_outcome", fail)
    with pytest.raises(RuntimeError, match="dies here"):
        settle(work, GOOD, life.policies)
    assert life.told() == []


def test_a_run_whose_job_was_removed_meanwhile_is_told_without_a_count(life: Life) -> None:
    work = life.work()
    with life.database.write() as session:
        jobs.remove_job(session, "job", now=life.now)
    settle(work, WRONG, life.policies)
    assert life.told() == [("failed", "job job failed: INVALID_FIELD")]


def test_no_secret_gets_into_the_outbox(life: Life) -> None:
    register(["s3cr3t-of-the-org"])
    life.end(conclude_error(configuration("LOGIN", "the answer was: bad secret s3cr3t-of-the-org")))
    with life.database.write() as session:
        (notice,) = notices.claim(session, owner="test", now=life.now, lease_seconds=60, limit=9)
    assert "s3cr3t" not in notice.body
    assert "bad secret ***" in notice.body


def test_a_spool_that_cannot_be_removed_is_told_and_the_run_stays_settled(
    life: Life, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_spool: Spool) -> None:
        raise ExportError(FailureKind.TRANSIENT, "DISK_ERROR", "cannot use the disk")

    monkeypatch.setattr(Spool, "discard", refuse)
    settled = life.end(GOOD)
    assert settled.outcome == "succeeded"
    assert life.kinds() == ["succeeded"]
    assert "spool.not_discarded" in caplog.text


def held(life: Life) -> dict[str, Hold]:
    with life.database.read() as session:
        return holds(session)


def test_a_used_up_quota_holds_the_connection_until_a_run_of_it_gets_through(life: Life) -> None:
    life.definition = {"query": "select 1", "export": {"connection": "crm"}}
    life.define()
    used_up = conclude_error(ExportError(FailureKind.TRANSIENT, "REQUEST_LIMIT_EXCEEDED", "all used", quota=True))
    ends = [(used_up, 5), (BUSY, 5), (WRONG, 5), (used_up, 10), (GOOD, None), (used_up, 5), (PARTIAL, None)]
    for conclusion, minutes in ends:
        life.minutes += 10
        settle(life.work(), conclusion, life.policies)
        found = held(life).get("crm")
        assert (None if found is None else found.until - found.since) == (minutes and timedelta(minutes=minutes))
