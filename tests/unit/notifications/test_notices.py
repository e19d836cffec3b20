"""What notices say of the end of a run, which of them there are, and how many messages they make."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from exporter.failures import FailureKind
from exporter.report import ExportReport
from scheduler.config.build import ConfigError, parse
from scheduler.notifications.messages import Ended, bundling, config_refused, digest, disk_short, next_try, notices_of
from scheduler.outcomes.outcome import Conclusion, Failure, Outcome

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
ALL = ("failed", "partial", "disabled", "recovered", "succeeded")
REPORT = ExportReport(read=10, accepted=7, rejected=3)


def ended(outcome: Outcome, kind: FailureKind | None = None, **changes: object) -> Ended:
    failure = Failure(kind=kind, code="INVALID_FIELD", message="No such column 'Foo__c'") if kind else None
    values: dict[str, object] = {
        "job": "contacts",
        "run_id": 12,
        "kind": "schedule",
        "scheduled_time": NOW,
        "attempt": 1,
        "conclusion": Conclusion(outcome=outcome, failure=failure, report=REPORT),
        "streak": 3,
        "disable_after": 5,
        "disable": None,
        "was_failing": False,
    }
    return Ended(**{**values, **changes})  # type: ignore[arg-type] # one dict


def kinds(what: Ended, on: Collection[str] = ALL) -> list[str]:
    return [notice.kind for notice in notices_of(what, on)]


def test_a_configuration_failure_says_what_where_why_how_often_and_what_to_do() -> None:
    (notice,) = notices_of(ended(Outcome.FAILED, FailureKind.CONFIGURATION), ALL)
    assert notice.subject == "job contacts failed: INVALID_FIELD (3 of 5 before the job is disabled)"
    assert notice.body == (
        "Job: contacts\n"
        "Run: 12 (schedule)\n"
        "Slot: 2026-11-24T03:00:00Z\n"
        "Outcome: failed (configuration)\n"
        "Rows: 10 read, 7 accepted, 3 rejected\n"
        "Reason: INVALID_FIELD: No such column 'Foo__c'\n"
        "Failures: 3 of 5 before the job is disabled\n"
        "\n"
        "Operator action is needed: it will fail again until the reason is fixed.\n"
        "\n"
        "More: schedctl runs show 12"
    )


def test_a_reason_without_end_is_cut() -> None:
    failure = Failure(kind=FailureKind.CONFIGURATION, code="UNKNOWN_COLUMNS", message="x" * 100_000)
    conclusion = Conclusion(outcome=Outcome.FAILED, failure=failure)
    (notice,) = notices_of(ended(Outcome.FAILED, conclusion=conclusion), ALL)
    assert len(notice.body) < 2_500
    assert len(config_refused("c.toml", "y" * 100_000).body) < 2_500


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.CONFIGURATION])
def test_other_failures_count_nothing_and_each_has_its_own_advice(kind: FailureKind) -> None:
    (notice,) = notices_of(ended(Outcome.FAILED, kind, attempt=4), ALL)
    assert "disabled" not in notice.subject + notice.body
    assert "(schedule, attempt 4)" in notice.body
    advice = {notices_of(ended(Outcome.FAILED, each), ALL)[0].body.split("\n\n")[1] for each in FailureKind}
    assert len(advice) == len(FailureKind)


@pytest.mark.parametrize("code", ["ABANDONED", "LEDGER_GONE", "SPOOL_GONE", "UNFINISHED_RUN"])
@pytest.mark.parametrize("kind", [FailureKind.INTERNAL, FailureKind.DATA])
def test_a_reason_that_says_what_to_do_is_not_called_a_bug_nor_the_rows_fault(code: str, kind: FailureKind) -> None:
    failure = Failure(kind=kind, code=code, message="schedctl retry 1 goes on where it stopped")
    (notice,) = notices_of(ended(Outcome.FAILED, conclusion=Conclusion(outcome=Outcome.FAILED, failure=failure)), ALL)
    assert notice.body.split("\n\n")[1] == "Operator action is needed: the reason says what to do."


def test_a_job_that_is_never_disabled_is_told_no_count() -> None:
    (notice,) = notices_of(ended(Outcome.FAILED, FailureKind.CONFIGURATION, disable_after=0), ALL)
    assert notice.subject == "job contacts failed: INVALID_FIELD"


def test_the_last_failure_and_the_disable_are_two_notices() -> None:
    last = ended(Outcome.FAILED, FailureKind.CONFIGURATION, streak=5, disable="5 configuration failures in a row")
    assert kinds(last) == ["failed", "disabled"]
    _, notice = notices_of(last, ALL)
    assert notice.subject == "job contacts is disabled"
    assert "Reason: 5 configuration failures in a row\n" in notice.body
    assert "schedctl enable contacts" in notice.body
    assert kinds(last, ["disabled"]) == ["disabled"]
    assert kinds(last, ["failed"]) == ["failed"]
    assert kinds(last, []) == []


@pytest.mark.parametrize(
    ("was_failing", "on", "told"),
    [
        (False, ALL, ["succeeded"]),
        (True, ALL, ["recovered"]),
        (True, ["succeeded"], ["succeeded"]),
        (True, ["recovered"], ["recovered"]),
        (False, ["recovered"], []),
        (True, ["failed"], []),
    ],
)
def test_a_success_is_told_once_and_the_first_after_a_failure_as_recovery(
    was_failing: bool,  # noqa: FBT001 - a parameter of the test
    on: list[str],
    told: list[str],
) -> None:
    assert kinds(ended(Outcome.SUCCEEDED, was_failing=was_failing), on) == told


def test_a_partial_run_is_told_as_such_also_after_failures() -> None:
    what = ended(Outcome.PARTIAL, FailureKind.DATA, was_failing=True)
    assert kinds(what) == ["partial"]
    assert "schedctl rejected 12" in notices_of(what, ALL)[0].body
    assert kinds(what, ["failed", "recovered", "succeeded"]) == []


@pytest.mark.parametrize("outcome", [Outcome.CANCELED, Outcome.SKIPPED, Outcome.INTERRUPTED])
def test_what_a_person_or_the_schedule_did_is_no_news(outcome: Outcome) -> None:
    assert kinds(ended(outcome, was_failing=True)) == []


@pytest.mark.parametrize(
    ("due", "recently", "digest_ago", "how"),
    [
        (1, 0, None, "each"),
        (20, 0, None, "each"),
        (21, 0, None, "one"),
        (1, 19, 1, "each"),
        (1, 20, None, "none"),
        (500, 20, None, "none"),
        (500, 19, None, "one"),
        (500, 19, 59, "none"),
        (500, 19, 60, "one"),
    ],
)
def test_no_minute_has_more_than_twenty_messages(due: int, recently: int, digest_ago: int | None, how: str) -> None:
    last = None if digest_ago is None else NOW - timedelta(seconds=digest_ago)
    assert bundling(due=due, recently=recently, last_digest=last, now=NOW) == how


def test_a_storm_of_hours_sends_at_most_twenty_in_any_minute_and_tells_all() -> None:
    sent: list[datetime] = []
    waiting, told, last_digest = 0, 0, None
    for second in range(3 * 3600):
        now = NOW + timedelta(seconds=second)
        waiting += 2 if second < 2 * 3600 else 0
        recently = sum(when > now - timedelta(minutes=1) for when in sent[-60:])
        how = bundling(due=waiting, recently=recently, last_digest=last_digest, now=now)
        if how == "none":
            continue
        sent += [now] * (waiting if how == "each" else 1)
        last_digest = now if how == "one" else last_digest
        told, waiting = told + waiting, 0
    assert (told, waiting) == (4 * 3600, 0)
    for index, when in enumerate(sent):
        assert sum(other < when + timedelta(minutes=1) for other in sent[index : index + 40]) <= 20


@dataclass(frozen=True)
class Waiting:
    kind: str
    subject: str
    created_at: datetime = NOW


def test_a_digest_counts_the_kinds_and_names_the_first() -> None:
    notice = digest(
        [Waiting("failed", f"job {number} failed") for number in range(108)] + [Waiting("disk", "full")] * 2
    )
    assert notice.subject == "110 notices (108 failed, 2 disk)"
    lines = notice.body.splitlines()
    assert lines[0] == "Notices: 108 failed, 2 disk"
    assert lines[2] == "2026-11-24T03:00:00Z  job 0 failed"
    assert lines[102] == "and 10 more"


def test_tries_come_later_and_later_up_to_15_minutes() -> None:
    waits = [(next_try(attempt=n, now=NOW, jitter=0) - NOW).total_seconds() for n in range(1, 12)]
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900, 900, 900, 900]
    assert next_try(attempt=1, now=NOW, jitter=1) - NOW == timedelta(seconds=22.5)
    assert next_try(attempt=10**9, now=NOW, jitter=0) - NOW == timedelta(minutes=15)


def test_what_the_daemon_tells_of_itself_names_the_place_and_the_fix() -> None:
    notice = config_refused("/etc/c.toml", "c.toml:3: jobs.a.cron: no")
    assert "c.toml:3: jobs.a.cron: no" in notice.body
    assert "schedctl check" in notice.body
    assert "db-1" in disk_short("db-1", "9 MB are free").subject


@pytest.mark.parametrize(
    ("written", "size"), [("0", 0), ("1024", 1024), ('"500MB"', 500_000_000), ('" 2TB "', 2 * 10**12), ('"1KB"', 1000)]
)
def test_a_size_is_bytes_or_a_number_with_a_unit(written: str, size: int) -> None:
    assert parse(f"[storage]\nmin_free = {written}\n").storage.min_free == size


@pytest.mark.parametrize("written", ['"5%"', '"1 GB"', '"1gb"', "-1", "1.5", "true", '"MB"', '""', '"1GiB"'])
def test_what_is_no_size_is_a_fault_that_shows_how_to_write_one(written: str) -> None:
    with pytest.raises(ConfigError, match=r"500MB"):
        parse(f"[storage]\nmin_free = {written}\n")


def test_notify_of_a_job_is_a_list_of_words_and_none_by_default() -> None:
    text = '[connections.f]\ntype = "file"\ndirectory = "o"\n[connections.d]\ntype = "duckdb"\n'
    text += '[jobs.a]\nsource = "d"\nquery = "q"\n%s\n[jobs.a.export]\nconnection = "f"\n'
    assert parse(text % "").jobs["a"].notify is None
    assert parse(text % 'notify = ["failed", "succeeded"]').jobs["a"].notify == ("failed", "succeeded")
    job = parse(text % "notify = []").jobs["a"]
    assert job.notify == ()
    assert type(job).from_dict(job.to_dict()) == job
    assert parse("[defaults]\nnotify = []\n" + text % "").jobs["a"].notify == ()
    with pytest.raises(ConfigError, match='"faild"'):
        parse(text % 'notify = ["faild"]')
