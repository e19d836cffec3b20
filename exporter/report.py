"""The counts of one export, which must add up, and the rows that were rejected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from exporter.failures import FailureKind


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedRow:
    """A row that did not get into the target: its number in the query's result (from 1), values as sent, and why."""

    number: int
    values: Mapping[str, str | None]
    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """How many rows were rejected for one reason.

    ``message`` holds no value of a row. Reasons are told apart by code and ``fields``, or by code and message where the
    target named no field. ``kind`` says whose move it is if that is why nothing got in, and ``advice`` what to do;
    ``quota`` that what the target grants is used up, for other exports too.
    """

    code: str
    message: str
    count: int
    fields: tuple[str, ...] = ()
    kind: FailureKind = FailureKind.DATA
    advice: str = ""
    quota: bool = False

    @property
    def reason(self) -> tuple[str, tuple[str, ...] | str]:
        """What reasons are told apart by."""
        return self.code, self.fields or self.message


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletions:
    """Records of the target that an export deleted, as its ledger has it.

    ``listed`` is how many were to be deleted, where that is known; of ``in_doubt`` ones nobody knows whether they are.
    """

    deleted: int = 0
    listed: int | None = None
    in_doubt: int = 0

    @property
    def any(self) -> bool:
        """Whether a record is deleted, or may be."""
        return bool(self.deleted or self.in_doubt)


MAX_REFUSALS = 20
"""How many distinct reasons a report keeps; the rows themselves are all kept elsewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What became of the rows: ``read = accepted + rejected + unchanged``, or the export is not done.

    ``refusals`` are the most frequent reasons, most frequent first, at most :data:`MAX_REFUSALS`. ``deleted`` are
    records of the target, and ``undeleted`` those that a mirror was to delete and could not, with ``reasons``.
    """

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    unchanged: int = 0
    deleted: int = 0
    refusals: tuple[Refusal, ...] = ()
    undeleted: int = 0
    reasons: tuple[Refusal, ...] = ()

    @property
    def adds_up(self) -> bool:
        """Whether every row that was read is accounted for."""
        return self.read == self.accepted + self.rejected + self.unchanged

    @property
    def sole_refusal(self) -> Refusal | None:
        """The one reason for which every row was rejected, if that is what happened."""
        if self.read and self.rejected == self.read and len(self.refusals) == 1:
            return self.refusals[0]
        return None

    def plus(self, *, accepted: int = 0, rejected: int = 0, refusals: Iterable[Refusal] = ()) -> "ExportReport":
        """Return this report with another batch's counts in it."""
        return replace(
            self,
            accepted=self.accepted + accepted,
            rejected=self.rejected + rejected,
            refusals=merge_refusals(self.refusals, refusals),
        )


def exceeds(rejected: int, sent: int, max_rejected: int | str | None) -> bool:
    """Whether ``rejected`` of ``sent`` rows are more than ``max_rejected``: a number, or a share such as ``5%``."""
    if max_rejected is None:
        return False
    if isinstance(max_rejected, str):
        return rejected * 100 > float(max_rejected.rstrip("% ")) * sent
    return rejected > max_rejected


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What a ledger alone proves of an export: counts, how many batches are settled, and what is in doubt, in words.

    Rows in doubt were handed over, and nothing says yet what became of them. ``under_way`` is how many batches of rows
    are in doubt, and ``held`` how many others have rows that are to be sent again. ``report.read`` is not known here.
    ``deletions`` has more of ``report.deleted``.
    """

    report: ExportReport
    settled: int = 0
    under_way: int = 0
    held: int = 0
    doubts: tuple[str, ...] = ()
    deletions: Deletions = field(default_factory=Deletions)


def count_refusals(rows: Iterable[RejectedRow]) -> tuple[Refusal, ...]:
    """Count rejected rows by reason, most frequent first."""
    return merge_refusals((), (Refusal(code=row.code, message=row.message, count=1) for row in rows))


def merge_refusals(first: Iterable[Refusal], second: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Add up refusals by reason, most frequent first, cut at :data:`MAX_REFUSALS`."""
    merged: dict[tuple[str, tuple[str, ...] | str], Refusal] = {}
    for group in (first, second):
        for refusal in group:
            known = merged.get(refusal.reason)
            merged[refusal.reason] = refusal if known is None else replace(known, count=known.count + refusal.count)
    ordered = sorted(merged.values(), key=lambda each: (-each.count, each.code, each.message))
    return tuple(ordered[:MAX_REFUSALS])
