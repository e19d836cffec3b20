"""Everything that an export does to Salesforce or takes for certain: the one place that writes the ledger.

Whatever changes something in the target is in :class:`Effect` and goes through :meth:`Journal.do`, which writes it down
before and after. What becomes certain without an effect is in :class:`Fact`. The crash tests are made from both lists.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from exporter.ledger import Entry, Ledger, Mark
from exporter.report import RejectedRow


class Leg(StrEnum):
    """Which part of an export an entry belongs to; the values are the ledger's words."""

    REMOVAL = "removal"
    """A truncate deletes the records that are there."""
    WRITE = "write"
    """The rows go out."""
    MIRROR = "mirror"
    """A mirror deletes the records of the keys that left the result."""


class Effect(StrEnum):
    """What an export does at Salesforce; the values are the ledger's words."""

    JOB_CREATE = "job.create"
    """A BulkJob is opened. One of which nobody knows holds no batch, changes nothing, and is closed by Salesforce."""
    BATCH_UPLOAD = "batch.upload"
    """Rows are stored in a BulkJob of Bulk API 2.0, which does nothing with them before it is reported to begin."""
    BATCH_SEND = "batch.send"
    """Rows are handed over: from here on they may be in Salesforce."""
    JOB_CLOSE = "job.close"
    """The BulkJob takes no more batches; those that it has go on."""
    JOB_ABORT = "job.abort"
    """The BulkJob takes no more batches, and those that have not begun never will."""


class Fact(StrEnum):
    """What an export found out; the values are the ledger's words."""

    SPOOL_REJECTED = "spool.rejected"
    """Rows that could not be written as text are recorded."""
    CELLS_REFUSED = "cells.refused"
    """Rows of a batch with a cell that its field surely cannot take are recorded and will not be sent."""
    CELLS_CHECKED = "cells.checked"
    """All cells were checked, and some of them Salesforce may refuse."""
    KEYS_REFUSED = "keys.refused"
    """Rows of a batch without a key, or with another row's key, are recorded and will not be sent."""
    KEYS_CHECKED = "keys.checked"
    """All keys were looked at."""
    IDS_REFUSED = "ids.refused"
    """Rows of a batch whose key belongs to no record, or to several, are recorded and will not be sent."""
    IDS_FOUND = "ids.found"
    """All keys were looked up, and the Ids are on disk."""
    RECORDS_LISTED = "records.listed"
    """The Ids of all records that a truncate is to delete are on disk; none is deleted yet."""
    ROWS_REOPENED = "rows.reopened"
    """Rows that were refused at an earlier attempt are to be sent again."""
    RECORDS_REMOVED = "records.removed"
    """Every listed record is gone: the rows may be written."""
    BATCH_ABSENT = "batch.absent"
    """The batch's last sending did not arrive, or nothing of it will be processed: it is to be sent again."""
    BATCH_SETTLED = "batch.settled"
    """Salesforce has said of every row of a sending what became of it."""
    JOB_OVER = "job.over"
    """The BulkJob takes no more batches: it was closed or aborted externally."""


class Journal:
    """The ledger of one leg of a run, and everyone who has to know what is written to it."""

    def __init__(self, ledger: Ledger, follow: Callable[[Entry], None], *, leg: Leg = Leg.WRITE) -> None:
        """``follow`` is called with each of the leg's entries: first those already there, then each when durable."""
        self._ledger = ledger
        self._follow = follow
        self._leg = leg
        for entry in ledger.entries():
            if entry.data.get("leg", Leg.WRITE) == leg:
                follow(entry)

    def do(self, effect: Effect, act: Callable[[], str], *, batch: int | None = None, **data: object) -> str:
        """Do ``act`` between the two entries of ``effect``; what it returns is ``id`` in the second one's data."""
        self._append(effect, Mark.INTENDED, batch, data)
        result = act()
        self._append(effect, Mark.DONE, batch, {**data, "id": result})
        return result

    def note(self, fact: Fact, *, batch: int | None = None, rows: Iterable[RejectedRow] = (), **data: object) -> None:
        """Write down a fact together with the rows that are refused by it, in one step."""
        self._append(fact, Mark.DONE, batch, data, rejected=tuple(rows))

    def confirm(self, effect: Effect, result: str, *, batch: int | None = None, **data: object) -> None:
        """Write down that an effect of which only the intent was known has happened after all."""
        self._append(effect, Mark.DONE, batch, {**data, "id": result})

    def _append(
        self,
        step: Effect | Fact,
        mark: Mark,
        batch: int | None,
        data: dict[str, object],
        *,
        rejected: Sequence[RejectedRow] = (),
    ) -> None:
        entry = Entry(step=step, mark=mark, batch=batch, data={**data, "leg": self._leg.value})
        self._ledger.append(entry, rejected=rejected)
        self._follow(entry)
