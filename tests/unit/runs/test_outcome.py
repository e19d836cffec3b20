"""From counts and errors to an outcome."""

import pytest

from exporter.failures import ExportError, FailureKind
from exporter.report import ExportReport, Refusal
from scheduler.outcomes.outcome import Outcome, conclude, conclude_cancel, conclude_error, conclude_timeout

DATA, CONFIGURATION, TRANSIENT = FailureKind.DATA, FailureKind.CONFIGURATION, FailureKind.TRANSIENT


def report(
    read: int, rejected: int, *reasons: tuple[str, int], kind: FailureKind = DATA, quota: bool = False
) -> ExportReport:
    refusals = tuple(Refusal(code=code, message="why", count=count, kind=kind, quota=quota) for code, count in reasons)
    return ExportReport(read=read, accepted=read - rejected, rejected=rejected, refusals=refusals)


def test_every_row_accepted_is_succeeded() -> None:
    assert conclude(report(3, 0)).outcome is Outcome.SUCCEEDED


def test_no_row_at_all_is_succeeded() -> None:
    assert conclude(report(0, 0)).outcome is Outcome.SUCCEEDED


def test_some_rows_refused_is_partial_and_says_how_many_and_why() -> None:
    conclusion = conclude(report(10, 2, ("REQUIRED_FIELD_MISSING", 2)))
    assert conclusion.outcome is Outcome.PARTIAL
    assert conclusion.failure is not None
    assert conclusion.failure.message == "2 of 10 rows were rejected: REQUIRED_FIELD_MISSING: why"


def test_all_rows_refused_for_a_column_a_type_or_a_right_is_a_configuration_failure() -> None:
    conclusion = conclude(report(10, 10, ("INSUFFICIENT_ACCESS_OR_READONLY", 10), kind=CONFIGURATION))
    assert conclusion.outcome is Outcome.FAILED
    assert conclusion.failure is not None
    assert conclusion.failure.kind is CONFIGURATION


def test_a_value_that_is_refused_in_every_row_says_nothing_against_the_configuration() -> None:
    conclusion = conclude(report(1, 1, ("INVALID_EMAIL_ADDRESS", 1)))
    assert conclusion.failure is not None
    assert (conclusion.failure.kind, conclusion.failure.code) == (DATA, "INVALID_EMAIL_ADDRESS")
    assert conclusion.failure.message == "the only row was rejected: INVALID_EMAIL_ADDRESS: why"


def test_refused_rows_that_are_all_refused_again_say_nothing_against_the_configuration() -> None:
    conclusion = conclude(report(1, 1, ("FIELD_NOT_UPDATABLE", 1), kind=CONFIGURATION), of_refused=True)
    assert conclusion.outcome is Outcome.FAILED
    assert conclusion.failure is not None
    assert (conclusion.failure.kind, conclusion.failure.code) == (DATA, "FIELD_NOT_UPDATABLE")
    locked = conclude(report(4, 4, ("UNABLE_TO_LOCK_ROW", 4), kind=TRANSIENT), of_refused=True)
    assert locked.failure is not None
    assert locked.failure.kind is TRANSIENT


def test_rows_that_may_all_go_in_later_say_nothing_against_the_configuration() -> None:
    for reasons in ([("UNABLE_TO_LOCK_ROW", 4)], [("UNABLE_TO_LOCK_ROW", 3), ("SERVER_UNAVAILABLE", 1)]):
        conclusion = conclude(report(4, 4, *reasons, kind=TRANSIENT))
        assert conclusion.failure is not None
        assert (conclusion.failure.kind, conclusion.final, conclusion.quota) == (TRANSIENT, True, False)
    some = conclude(report(5, 4, ("UNABLE_TO_LOCK_ROW", 4), kind=TRANSIENT))
    assert some.failure is not None
    assert (some.outcome, some.failure.kind) == (Outcome.PARTIAL, TRANSIENT)


def test_rows_that_are_all_refused_for_a_quota_hold_the_runs_that_would_meet_it_too() -> None:
    assert conclude(report(4, 4, ("REQUEST_LIMIT_EXCEEDED", 4), kind=TRANSIENT, quota=True)).quota


def test_what_to_do_follows_the_reason() -> None:
    refusal = Refusal(code="A", message="why", count=2, kind=TRANSIENT, advice="wait")
    conclusion = conclude(ExportReport(read=2, rejected=2, refusals=(refusal,)))
    assert conclusion.failure is not None
    assert conclusion.failure.message == "all 2 rows were rejected: A: why: wait"


def test_all_rows_refused_for_several_reasons_is_a_data_failure() -> None:
    conclusion = conclude(report(4, 4, ("A", 3), ("B", 1)))
    assert conclusion.failure is not None
    assert conclusion.failure.kind is FailureKind.DATA
    assert "and 1 other reason)" in conclusion.failure.message


@pytest.mark.parametrize(
    ("limit", "outcome"),
    [
        (1, Outcome.FAILED),
        (2, Outcome.PARTIAL),
        ("19%", Outcome.FAILED),
        ("20%", Outcome.PARTIAL),
        (None, Outcome.PARTIAL),
    ],
)
def test_max_rejected_turns_partial_into_failed(limit: int | str | None, outcome: Outcome) -> None:
    assert conclude(report(10, 2, ("A", 2)), limit).outcome is outcome


def test_counts_that_do_not_add_up_are_never_a_success() -> None:
    conclusion = conclude(ExportReport(read=10, accepted=9))
    assert conclusion.outcome is Outcome.FAILED
    assert conclusion.failure is not None
    assert conclusion.failure.kind is FailureKind.INTERNAL


def test_an_error_keeps_its_kind_and_code() -> None:
    conclusion = conclude_error(ExportError(FailureKind.TRANSIENT, "UNREACHABLE", "no answer"))
    assert conclusion.failure is not None
    assert (conclusion.failure.kind, conclusion.failure.code) == (FailureKind.TRANSIENT, "UNREACHABLE")
    assert not conclusion.final


def test_rows_that_were_rejected_before_it_do_not_make_an_error_final() -> None:
    lost = ExportError(FailureKind.TRANSIENT, "UNREACHABLE", "no answer")
    assert not conclude_error(lost, ExportReport(read=9, accepted=3, rejected=1)).final


def test_a_timeout_and_a_cancel_are_final() -> None:
    assert conclude_timeout(60, ExportReport()).final
    assert conclude_cancel(ExportReport()).outcome is Outcome.CANCELED


def test_a_share_of_refused_rows_is_of_those_that_were_to_be_sent() -> None:
    sent = ExportReport(
        read=1000, accepted=94, rejected=6, unchanged=900, refusals=(Refusal(code="BAD", message="why", count=6),)
    )
    assert conclude(sent, "5%").outcome is Outcome.FAILED
    assert conclude(sent, "6%").outcome is Outcome.PARTIAL
    assert conclude(sent, 6).outcome is Outcome.PARTIAL


def test_rows_that_are_all_refused_beside_unchanged_ones_are_no_configuration_failure() -> None:
    one_bad = ExportReport(
        read=1000, rejected=1, unchanged=999, refusals=(Refusal(code="BAD", message="why", count=1),)
    )
    conclusion = conclude(one_bad)
    assert conclusion.outcome is Outcome.PARTIAL
    assert conclusion.failure is not None
    assert conclusion.failure.kind is FailureKind.DATA


def test_records_that_a_mirror_could_not_delete_make_it_partial_and_are_counted() -> None:
    why = (Refusal(code="DELETE_FAILED", message="other records need it", count=2),)
    words = "2 records whose rows left the result could not be deleted: DELETE_FAILED: other records need it"
    left = conclude(ExportReport(read=3, accepted=3, deleted=1, undeleted=2, reasons=why))
    assert left.failure is not None
    assert (left.outcome, left.failure.code, left.failure.message) == (Outcome.PARTIAL, "DELETE_FAILED", words)
    refusals = (Refusal(code="BAD", message="why", count=1),)
    both = conclude(ExportReport(read=3, accepted=2, rejected=1, refusals=refusals, undeleted=2, reasons=why))
    assert both.failure is not None
    assert both.failure.message == f"1 of 3 rows were rejected: BAD: why; {words}"


def test_a_mirror_that_failed_for_its_rows_says_that_it_deleted_nothing() -> None:
    refusals = (Refusal(code="BAD", message="why", count=2),)
    report = ExportReport(read=9, accepted=2, rejected=2, unchanged=5, undeleted=3, refusals=refusals)
    failed = conclude(report, 1)
    assert failed.failure is not None
    assert failed.failure.message.endswith(
        "BAD: why (max_rejected = 1); the 3 records whose rows left the result were not deleted"
    )
