"""What an export tells while it goes on, and the progress that a listener folds it into."""

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsSpooled:
    """``rows`` more rows were read; ``rejected`` of them could not be written as text and are out already."""

    rows: int
    rejected: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryBegunAgain:
    """The query is run again from its beginning within the same attempt: the rows so far do not count."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSent:
    """A batch of ``rows`` rows was handed to the target."""

    batch: int
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSettled:
    """The target said of each row of a batch what became of it."""

    batch: int
    accepted: int
    rejected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsDeleted:
    """``records`` more records are gone from the target, to make room for the rows."""

    records: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangesFound:
    """A result was compared with what the target is known to hold: only ``new`` and ``changed`` rows are sent.

    ``gone`` are keys that left the result.
    """

    new: int
    changed: int
    unchanged: int
    gone: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrying:
    """A call failed for a reason that may pass; it is tried again in ``seconds``."""

    code: str
    message: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Warned:
    """Something the user should know that does not stop the export."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Called:
    """A request was answered: bytes of both bodies, and the org's calls of a day (used, all) where it told them.

    It comes between the request and what is made of its answer: a listener may only count.
    """

    sent: int
    received: int
    quota: tuple[int, int] | None = None


Event = (
    RowsSpooled
    | QueryBegunAgain
    | BatchSent
    | BatchSettled
    | RecordsDeleted
    | ChangesFound
    | Retrying
    | Warned
    | Called
)
Listener = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where an export stands: rows, and records deleted. ``changes`` is how the rows differ from an earlier result."""

    read: int = 0
    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    deleted: int = 0
    changes: ChangesFound | None = None


def advance(progress: Progress, event: Event) -> Progress:
    """Fold one event into the progress."""
    match event:
        case RowsSpooled():
            return replace(progress, read=progress.read + event.rows, rejected=progress.rejected + event.rejected)
        case QueryBegunAgain():
            progress = Progress()
        case BatchSent():
            return replace(progress, sent=progress.sent + event.rows)
        case BatchSettled():
            return replace(
                progress,
                accepted=progress.accepted + event.accepted,
                rejected=progress.rejected + event.rejected,
            )
        case ChangesFound():
            return replace(progress, read=progress.read + event.unchanged, changes=event)
        case RecordsDeleted():
            return replace(progress, deleted=progress.deleted + event.records)
    return progress
