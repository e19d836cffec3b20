"""Which cells name the same record, and rows without a key or with a shared one, in a spool of any size.

Salesforce rejects rows of one key only if they meet in the same 200 records; apart from each other, the one that is
processed last wins, and in a parallel BulkJob nobody can say which that is. So that the outcome never hangs on how rows
fall into batches, all rows that share a key are refused here, before anything is sent: nothing says which was meant.
"""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO

from exporter.host.durable_files import disk_fault
from exporter.rows.key_forms import Form, normal_column
from exporter.spool.spool import Spool, SpooledBatch, SpoolManifest
from exporter.targets.salesforce.api.soql import IDS, NUMBERS
from exporter.targets.salesforce.fields import Field
from exporter.targets.salesforce.row_ranges import read_columns, read_ranges

_FINE, _EMPTY, _SHARED, _REPEATED = 0, 1, 2, 3
_DIGEST = 16
_RECORD = _DIGEST + 8
_BUCKET_ROWS = 100_000
_MAX_BUCKETS = 200
NULLS = frozenset({"", "#N/A"})
"""Cells that hold no value: Salesforce leaves the field alone, or empties it."""
_NO_KEYS = frozenset({"", "#N/A", "#n/a"})
"""The same, in the forms of keys."""
_TIMES: dict[str, Form] = {"date": "date", "datetime": "datetime", "time": "time"}


def key_form(field: Field, *, upsert: bool) -> Form:
    """Return how Salesforce compares the values of a field by which records are found.

    Ids, numbers and times by what they mean. Text without regard to case and to spaces at its ends, accents told apart
    (SOQL reference, "Comparison Operators"), unless the field is case-sensitive. E-mails are stored in lower case. An
    upsert by a custom field tells case apart unless the field is unique too (Apex Developer Guide, "Upserting
    Records"). What is one letter for some and two for others (``ß`` and ``ss``, ``ﬁ`` and ``fi``) is two keys here:
    nothing public says which it is there, and a row that Salesforce would take must not be refused.
    """
    if field.type in IDS:
        return "id"
    if field.type in NUMBERS:
        return "number"
    if field.type in _TIMES:
        return _TIMES[field.type]
    if field.type == "email":
        return "folded"
    if field.case_sensitive or (upsert and field.unique is False and field.name.endswith("__c")):
        return "cased"
    return "folded"


class KeyCheck:
    """A look at all keys of a spool: one byte per row stays in memory, the rest is in unnamed files beside it."""

    def __init__(
        self,
        spool: Spool,
        manifest: SpoolManifest,
        key: str,
        *,
        form: Form,
        refused: Mapping[int, str] | None = None,
    ) -> None:
        """``key`` names the column, any case. The rows ``refused``, by batch as ranges, do not count.

        Raises ExportError if the disk or the spool fails.
        """
        self._refused = refused or {}
        self._verdicts = bytearray(manifest.rows + 1)
        self._form = form
        count = min(_MAX_BUCKETS, manifest.rows // _BUCKET_ROWS + 1)
        try:
            with ExitStack() as stack:
                buckets = [stack.enter_context(tempfile.TemporaryFile(dir=spool.directory)) for _ in range(count)]
                for batch in manifest.batches:
                    self._scatter(spool.read(batch), batch, key, buckets)
                for bucket in buckets:
                    self._compare(bucket)
        except OSError as error:
            raise disk_fault(error, spool.directory) from error

    def empty(self, batch: SpooledBatch) -> list[int]:
        """Return the numbers of the batch's rows without a key."""
        return [number for number in batch.row_numbers() if self._verdicts[number] == _EMPTY]

    def shared(self, batch: SpooledBatch) -> list[int]:
        """Return the numbers of the batch's rows whose key another row of the result has too."""
        return [number for number in batch.row_numbers() if self._verdicts[number] in {_SHARED, _REPEATED}]

    def repeated(self, batch: SpooledBatch) -> list[int]:
        """Return the numbers of the batch's rows whose key an earlier row of the result has."""
        return [number for number in batch.row_numbers() if self._verdicts[number] == _REPEATED]

    def _scatter(self, content: bytes, batch: SpooledBatch, key: str, buckets: Sequence[IO[bytes]]) -> None:
        keys = normal_column(read_columns(content, [key]).column(0), self._form).to_pylist()
        refused = frozenset(read_ranges(self._refused.get(batch.number, "")))
        for number, cell in zip(batch.row_numbers(), keys, strict=True):
            if number in refused:
                continue
            if cell in _NO_KEYS:
                self._verdicts[number] = _EMPTY
                continue
            digest = hashlib.blake2b(cell.encode(), digest_size=_DIGEST).digest()
            buckets[int.from_bytes(digest[:2], "big") % len(buckets)].write(digest + number.to_bytes(8, "big"))

    def _compare(self, bucket: IO[bytes]) -> None:
        first_rows: dict[bytes, int] = {}
        bucket.seek(0)
        while record := bucket.read(_RECORD):
            number = int.from_bytes(record[_DIGEST:], "big")
            first = first_rows.setdefault(record[:_DIGEST], number)
            if first != number:
                self._verdicts[first], self._verdicts[number] = _SHARED, _REPEATED
