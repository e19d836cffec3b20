"""What follows from how an attempt ended: one test per row of the decision table."""

from datetime import UTC, datetime, timedelta

import pytest

from exporter.failures import FailureKind
from exporter.report import ExportReport
from scheduler.outcomes.outcome import Conclusion, Failure, Outcome
from scheduler.outcomes.policy import MAX_RETRY_DELAY, Decisions, Policies, decide

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
POLICIES = Policies(retry_limit=2, initial_retry_delay=timedelta(seconds=60), disable_after=3)


def failed(kind: FailureKind, *, final: bool = False) -> Conclusion:
    failure = Failure(kind=kind, code="CODE", message="what is wrong")
    return Conclusion(outcome=Outcome.FAILED, failure=failure, final=final)


def after(
    conclusion: Conclusion, *, attempt: int = 1, streak: int = 0, policies: Policies = POLICIES, jitter: float = 1
) -> Decisions:
    return decide(conclusion, attempt=attempt, streak=streak, policies=policies, now=NOW, jitter=jitter)


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.PARTIAL])
def test_rows_that_got_in_reset_the_streak(outcome: Outcome) -> None:
    assert after(Conclusion(outcome=outcome), streak=2).streak == 0


def test_a_cancel_leaves_the_streak_as_it_is() -> None:
    decisions = after(Conclusion(outcome=Outcome.CANCELED, final=True), streak=2)
    assert (decisions.streak, decisions.retry_at, decisions.disable) == (2, None, None)


@pytest.mark.parametrize("kind", [FailureKind.DATA, FailureKind.INTERNAL])
def test_data_and_internal_failures_neither_count_nor_retry(kind: FailureKind) -> None:
    decisions = after(failed(kind), streak=2)
    assert (decisions.streak, decisions.retry_at, decisions.disable) == (2, None, None)


def test_a_transient_failure_is_tried_again_with_doubled_delays() -> None:
    assert after(failed(FailureKind.TRANSIENT), attempt=1).retry_at == NOW + timedelta(seconds=60)
    assert after(failed(FailureKind.TRANSIENT), attempt=2).retry_at == NOW + timedelta(seconds=120)


def test_jitter_spreads_a_retry_over_the_second_half_of_its_delay() -> None:
    assert after(failed(FailureKind.TRANSIENT), jitter=0).retry_at == NOW + timedelta(seconds=30)


def test_a_retry_never_waits_longer_than_the_cap() -> None:
    patient = Policies(retry_limit=1000, initial_retry_delay=timedelta(seconds=60))
    assert after(failed(FailureKind.TRANSIENT), attempt=900, policies=patient).retry_at == NOW + MAX_RETRY_DELAY


def test_the_retry_limit_ends_the_run_and_does_not_count() -> None:
    decisions = after(failed(FailureKind.TRANSIENT), attempt=3, streak=2)
    assert (decisions.retry_at, decisions.streak, decisions.disable) == (None, 2, None)


def test_a_final_transient_failure_is_not_tried_again() -> None:
    assert after(failed(FailureKind.TRANSIENT, final=True)).retry_at is None


def test_configuration_failures_count_and_are_not_tried_again() -> None:
    decisions = after(failed(FailureKind.CONFIGURATION), streak=1)
    assert (decisions.streak, decisions.retry_at, decisions.disable) == (2, None, None)


def test_the_job_is_disabled_at_exactly_the_limit_with_the_reason() -> None:
    decisions = after(failed(FailureKind.CONFIGURATION), streak=2)
    assert decisions.disable == "3 configuration failures in a row, the last one: CODE: what is wrong"


def test_zero_never_disables() -> None:
    assert after(failed(FailureKind.CONFIGURATION), streak=99, policies=Policies(disable_after=0)).disable is None


def test_the_reports_are_frozen_values_of_their_own() -> None:
    assert Conclusion(outcome=Outcome.SUCCEEDED).report == ExportReport()
