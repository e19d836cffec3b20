"""From what an export reports, or the error that ended it, to the run's outcome. Pure."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from exporter.counted import counted
from exporter.failures import ExportError, FailureKind
from exporter.report import ExportReport, exceeds


class Outcome(StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELED = "canceled"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a run did not succeed, in words for a person; never a secret, never row data."""

    kind: FailureKind
    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """The outcome of a run with its counts, and the failure unless it succeeded."""

    outcome: Outcome
    failure: Failure | None = None
    report: ExportReport = field(default_factory=ExportReport)
    final: bool = False
    """Whether another attempt is ruled out, whatever the kind of failure."""
    quota: bool = False
    """Whether the target said that a quota is used up, which other runs will meet too."""
    remark: str | None = None
    """What else there is to say of a run that has no failure which could."""


def conclude(report: ExportReport, max_rejected: int | str | None = None, *, of_refused: bool = False) -> Conclusion:
    """Judge a finished export: ``succeeded`` only if the target accepted every row, and a mirror is one.

    ``max_rejected`` is a number of rows, or a share such as ``"5%"`` of the rows that were to be sent; more than that
    is a failure. Rows that were not to be sent are in the target: a run that has such rows never failed as a whole.
    ``of_refused``: the rows are those that another run had refused; if all are again, that says nothing of the job.
    """
    if not report.adds_up:
        message = (
            f"{report.read} rows were read, but {report.accepted} accepted, {report.rejected} rejected and "
            f"{report.unchanged} unchanged rows do not add up to that"
        )
        return _failed(report, FailureKind.INTERNAL, "COUNTS_DIFFER", message)
    if not report.rejected:
        return _undeleted(report) if report.undeleted else Conclusion(outcome=Outcome.SUCCEEDED, report=report)
    reason = _main_reason(report)
    kind = _kind(report, of_refused=of_refused)
    if report.rejected == report.read:
        sole = report.sole_refusal
        code = sole.code if sole is not None else "ALL_REJECTED"
        rows = "the only row was" if report.read == 1 else f"all {report.read} rows were"
        said = f"{rows} rejected: {reason}{_kept_words(report)}"
        return _failed(report, kind, code, said, quota=_met_quota(report))
    summary = f"{report.rejected} of {report.read} rows were rejected: {reason}"
    if exceeds(report.rejected, report.read - report.unchanged, max_rejected):
        said = f"{summary} (max_rejected = {max_rejected}){_kept_words(report)}"
        return _failed(report, kind, "TOO_MANY_REJECTED", said)
    if report.undeleted:
        summary += f"; {_undeleted_words(report)}"
    failure = Failure(kind=kind, code=report.refusals[0].code, message=summary)
    return Conclusion(outcome=Outcome.PARTIAL, failure=failure, report=report)


def conclude_error(error: ExportError, report: ExportReport | None = None) -> Conclusion:
    """Judge an export that an error ended. Rows that were rejected before it do not keep it from being tried again."""
    failure = Failure(kind=error.kind, code=error.code, message=error.message)
    return Conclusion(outcome=Outcome.FAILED, failure=failure, report=report or ExportReport(), quota=error.quota)


def conclude_timeout(seconds: int, report: ExportReport) -> Conclusion:
    """Judge a run that went on for longer than its ``timeout``; it is not tried again."""
    message = f"the run took longer than its timeout of {seconds} s and was stopped"
    return _failed(report, FailureKind.TRANSIENT, "TIMEOUT", message)


def conclude_cancel(report: ExportReport) -> Conclusion:
    """Judge a run that a person canceled."""
    return Conclusion(outcome=Outcome.CANCELED, report=report, final=True)


def with_account(conclusion: Conclusion, account: str) -> Conclusion:
    """Add what is known of a run that began to send: to the message of its failure, or as its remark."""
    failure = conclusion.failure
    if not account or failure is None:
        return replace(conclusion, remark=account or None)
    return replace(conclusion, failure=replace(failure, message=f"{failure.message.rstrip('.')}. {account}"))


def _failed(report: ExportReport, kind: FailureKind, code: str, message: str, *, quota: bool = False) -> Conclusion:
    """Conclude a failure after which the run is over: every row has its result, or its time is."""
    failure = Failure(kind=kind, code=code, message=message)
    return Conclusion(outcome=Outcome.FAILED, failure=failure, report=report, final=True, quota=quota)


def _kind(report: ExportReport, *, of_refused: bool) -> FailureKind:
    """Return whose move it is: nobody's if all that was refused may go in later; a person's only for one sole reason.

    And only if that reason speaks of a column, a type or a right: values say nothing against the configuration, nor do
    rows that another run had refused.
    """
    kinds = {each.kind for each in report.refusals}
    if kinds == {FailureKind.TRANSIENT}:
        return FailureKind.TRANSIENT
    if report.sole_refusal is not None and kinds == {FailureKind.CONFIGURATION} and not of_refused:
        return FailureKind.CONFIGURATION
    return FailureKind.DATA


def _met_quota(report: ExportReport) -> bool:
    return bool(report.refusals) and all(each.quota for each in report.refusals)


def _undeleted(report: ExportReport) -> Conclusion:
    code = report.reasons[0].code if report.reasons else "NOT_DELETED"
    failure = Failure(kind=FailureKind.DATA, code=code, message=_undeleted_words(report))
    return Conclusion(outcome=Outcome.PARTIAL, failure=failure, report=report)


def _kept_words(report: ExportReport) -> str:
    """Say of a failed mirror that it deleted nothing: what is wrong with the rows may be wrong with those that left."""
    return f"; the {report.undeleted} records whose rows left the result were not deleted" if report.undeleted else ""


def _undeleted_words(report: ExportReport) -> str:
    why = f": {report.reasons[0].code}: {report.reasons[0].message}" if report.reasons else ""
    return f"{counted(report.undeleted, 'record')} whose rows left the result could not be deleted{why}"


def _main_reason(report: ExportReport) -> str:
    if not report.refusals:
        return "no reason was kept"
    first = report.refusals[0]
    others = len(report.refusals) - 1
    more = f" (and {others} other reason{'s' if others > 1 else ''})" if others else ""
    advice = f": {first.advice}" if first.advice else ""
    return f"{first.code}: {first.message}{advice}{more}"
