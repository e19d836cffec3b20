"""What notices say, and how many messages they make. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from exporter.counted import counted
from exporter.failures import FailureKind
from scheduler.observability.visible_text import visible
from scheduler.outcomes.outcome import Conclusion, Failure, Outcome

Told = Literal["failed", "partial", "disabled", "recovered", "succeeded"]
"""What a notice of a job may tell: the words of ``on``."""
PER_MINUTE = 20
"""Messages to each address in a minute, at most; more notices than that are told in one."""
WINDOW = timedelta(minutes=1)
LONG = 2_000
"""Characters of a reason, and of a config file's faults, in one notice: the rest is in ``schedctl runs show``."""
IN_A_DIGEST = 100
"""Notices that a digest tells by name."""

_ADVICE = {
    FailureKind.CONFIGURATION: "Operator action is needed: it will fail again until the reason is fixed.",
    FailureKind.TRANSIENT: "It may pass without action: the next slot runs as scheduled.",
    FailureKind.DATA: "The rows themselves are at fault: schedctl rejected {run} shows each with its reason.",
    FailureKind.INTERNAL: "An internal error, which is a bug in schedctl: look into its log, and report it.",
}
_SAYS_WHAT_TO_DO = frozenset({"ABANDONED", "LEDGER_GONE", "SPOOL_GONE", "UNFINISHED_RUN"})
"""Codes whose message names the command that comes next: neither the rows nor schedctl are at fault."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticeText:
    """A thing to tell: its kind (one of :data:`Told`, or what the daemon tells of itself), a subject line, a body."""

    kind: str
    subject: str
    body: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A run that is over. ``streak`` counts its failure; ``disable`` is the reason if that disables the job.

    ``was_failing``: the job's last run that succeeded or failed before this one had failed.
    """

    job: str
    run_id: int
    kind: str
    scheduled_time: datetime
    attempt: int
    conclusion: Conclusion
    streak: int
    disable_after: int
    disable: str | None
    was_failing: bool


def notices_of(ended: Ended, on: Collection[str]) -> list[NoticeText]:
    """Return what the end of a run gives to tell, of the kinds in ``on``; of one run, one kind and the disable."""
    outcome = ended.conclusion.outcome
    told: list[NoticeText] = []
    if outcome is Outcome.FAILED and "failed" in on:
        told.append(_failed(ended))
    elif outcome is Outcome.PARTIAL and "partial" in on:
        told.append(_run_notice(ended, "partial", f"job {ended.job}: some rows were rejected", _partial_advice(ended)))
    elif outcome is Outcome.SUCCEEDED and ended.was_failing and "recovered" in on:
        told.append(_run_notice(ended, "recovered", f"job {ended.job} succeeds again"))
    elif outcome is Outcome.SUCCEEDED and "succeeded" in on:
        told.append(_run_notice(ended, "succeeded", f"job {ended.job} succeeded"))
    if ended.disable is not None and "disabled" in on:
        advice = f"It no longer runs automatically. Fix the cause, then: schedctl enable {ended.job}"
        told.append(_run_notice(ended, "disabled", f"job {ended.job} is disabled", advice, reason=ended.disable))
    return told


def _failed(ended: Ended) -> NoticeText:
    failure = ended.conclusion.failure
    subject = f"job {ended.job} failed"
    if failure is None:
        return _run_notice(ended, "failed", subject)
    subject += f": {failure.code}"
    advice = _ADVICE[failure.kind].format(run=ended.run_id)
    if failure.code in _SAYS_WHAT_TO_DO:
        advice = "Operator action is needed: the reason says what to do."
    if failure.kind is FailureKind.CONFIGURATION and ended.streak <= ended.disable_after:
        count = f"{ended.streak} of {ended.disable_after} before the job is disabled"
        return _run_notice(ended, "failed", f"{subject} ({count})", advice, count=count)
    return _run_notice(ended, "failed", subject, advice)


def _partial_advice(ended: Ended) -> str:
    return (
        f"The other rows are in the target. The rejected ones, each with its reason: schedctl rejected {ended.run_id}"
    )


def _run_notice(
    ended: Ended, kind: Told, subject: str, advice: str = "", *, reason: str = "", count: str = ""
) -> NoticeText:
    failure, report = ended.conclusion.failure, ended.conclusion.report
    unchanged = f", {report.unchanged} unchanged" if report.unchanged else ""
    tries = f", attempt {ended.attempt}" if ended.attempt > 1 else ""
    lines = [
        ("Job", ended.job),
        ("Run", f"{ended.run_id} ({ended.kind}{tries})"),
        ("Slot", stamp(ended.scheduled_time)),
        ("Outcome", _outcome(ended.conclusion.outcome, failure)),
        ("Rows", f"{report.read} read, {report.accepted} accepted, {report.rejected} rejected{unchanged}"),
        ("Deleted", counted(report.deleted, "record") if report.deleted else ""),
        ("Reason", _short(reason or (f"{failure.code}: {failure.message}" if failure is not None else ""))),
        ("Failures", count),
    ]
    more = f"More: schedctl runs show {ended.run_id}"
    return NoticeText(kind=kind, subject=subject, body=sheet(lines, advice, more))


def _outcome(outcome: Outcome, failure: Failure | None) -> str:
    return outcome.value if failure is None else f"{outcome.value} ({failure.kind.value})"


def sheet(lines: Sequence[tuple[str, str]], *paragraphs: str) -> str:
    """Lay out facts (those that are not empty) and the sentences below them."""
    facts = "\n".join(f"{name}: {visible(value)}" for name, value in lines if value)
    return "\n\n".join(filter(None, (facts, *paragraphs)))


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:LONG]} …"


def stamp(instant: datetime) -> str:
    """Write an instant as the commands do: ISO 8601, UTC, to the second."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def config_refused(path: str, faults: str) -> NoticeText:
    """Tell that the config file was edited and cannot be used."""
    advice = (
        "The daemon continues with the config that it read before. Fix the file; schedctl check says when it is valid."
    )
    body = sheet([("File", path)], _short(faults), advice, "More: schedctl status")
    return NoticeText(kind="config", subject="the config file has faults and was not applied", body=body)


def config_unconfirmed(path: str, message: str, *, removes: bool, loses: bool) -> NoticeText:
    """Tell that an edit of the config file waits for a person.

    It ``removes`` most jobs, or jobs lose keys, or it ends where it went on before.
    """
    advice = (
        "The daemon goes on with the config that it read before. If the file is not whole, put back what is missing: "
        "the daemon notices. If the edit is meant: schedctl reload --confirm"
    )
    body = sheet([("File", path)], _short(message), advice, "More: schedctl check --diff, schedctl status")
    what = "cuts it off"
    if removes or loses:
        what = "removes most of its jobs" if removes else "takes keys away from its jobs"
    subject = f"an edit of the config file {what} and waits for confirmation"
    return NoticeText(kind="config", subject=subject, body=body)


def jobs_unreadable(host: str, reasons: Mapping[str, str]) -> NoticeText:
    """Say which stored jobs a daemon cannot read, and why."""
    count = counted(len(reasons), "job")
    lines = [f"{name}: {reason}" for name, reason in sorted(reasons.items())[:IN_A_DIGEST]]
    if len(reasons) > IN_A_DIGEST:
        lines.append(f"and {len(reasons) - IN_A_DIGEST} more")
    advice = (
        "They do not fire until they can be read; the other jobs go on. Change what is named, or install the version "
        "of schedctl, or the time zone data, that they were stored with."
    )
    body = sheet([("Host", host)], "\n".join(lines), advice, "More: schedctl status")
    return NoticeText(kind="unreadable", subject=f"{count} cannot be read and will not fire", body=body)


def disk_short(host: str, message: str) -> NoticeText:
    """Tell that no run is started for want of room."""
    advice = "Runs that go on are not stopped. Make room, and the daemon continues automatically."
    body = sheet([("Host", host)], message, advice, "More: schedctl status")
    return NoticeText(kind="disk", subject=f"no runs are started on {host}: the disk is nearly full", body=body)


def disk_fine(host: str) -> NoticeText:
    """Tell that runs are started again."""
    body = sheet([("Host", host)], "There is room again: what waited is started now.")
    return NoticeText(kind="disk", subject=f"runs are started again on {host}", body=body)


def trial(host: str, now: datetime) -> NoticeText:
    """Make the notice that only says that notices arrive."""
    body = sheet([("Host", host), ("Time", stamp(now))], "Somebody asked for this by: schedctl notify test")
    return NoticeText(kind="test", subject="this is a test", body=body)


class Waiting(Protocol):
    """What a digest needs of a notice."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def subject(self) -> str:
        """Its subject line."""

    @property
    def created_at(self) -> datetime:
        """When it became true."""


def digest(waiting: Sequence[Waiting]) -> NoticeText:
    """Tell many notices in one message: how many of each kind, and the first of them by name."""
    kinds = [notice.kind for notice in waiting]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds), key=lambda k: (-kinds.count(k), k)))
    lines = [f"{stamp(notice.created_at)}  {visible(notice.subject)}" for notice in waiting[:IN_A_DIGEST]]
    left = len(waiting) - len(lines)
    rest = f"and {left} more" if left else ""
    body = sheet([("Notices", counts)], "\n".join(filter(None, [*lines, rest])), "More: schedctl status, schedctl runs")
    return NoticeText(kind="digest", subject=f"{len(waiting)} notices ({counts})", body=body)


def bundling(*, due: int, recently: int, last_digest: datetime | None, now: datetime) -> Literal["each", "one", "none"]:
    """Say whether ``due`` notices are sent each by itself, in one digest, or not yet.

    ``recently`` messages were sent within the last minute, and no more than :data:`PER_MINUTE` are to be.
    """
    if due + recently <= PER_MINUTE:
        return "each"
    if recently < PER_MINUTE and (last_digest is None or now - last_digest >= WINDOW):
        return "one"
    return "none"


def next_try(*, attempt: int, now: datetime, jitter: float) -> datetime:
    """Return when a notice is tried again after ``attempt`` tries: in half a minute, doubled, up to 15 minutes.

    ``jitter`` (0 to 1) takes away up to a quarter, so that what failed together does not come back together.
    """
    seconds = min(30.0 * 2.0 ** min(attempt - 1, 10), 900.0)
    return now + timedelta(seconds=seconds * (1 - jitter / 4))
