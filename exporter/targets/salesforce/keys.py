"""Rows without a key and rows that share one, found in a spool of any size in little memory.

Salesforce refuses rows of one key only if they meet in the same 200 records; apart from each other, the one that is
processed last wins, and in a parallel BulkJob nobody can say which that is. So that the outcome never hangs on how rows
fall into batches, all rows that share a key are refused here, before anything is sent: nothing says which was meant.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO

from exporter.disk import disk_fault
from exporter.failures import internal
from exporter.spool import Spool, SpooledBatch, SpoolManifest
from exporter.targets.salesforce.rows import read_records

_FINE, _EMPTY, _SHARED = 0, 1, 2
_DIGEST = 16
_RECORD = _DIGEST + 8
_BUCKET_ROWS = 100_000
_MAX_BUCKETS = 200
NULLS = frozenset({"", "#N/A"})
"""Cells that hold no value: Salesforce leaves the field alone, or empties it."""


class KeyCheck:
    """A look at all keys of a spool: one byte per row stays in memory, the rest is in unnamed files beside it."""

    def __init__(self, spool: Spool, manifest: SpoolManifest, key: str, *, case_sensitive: bool) -> None:
        """``key`` names the column, any case. Raises ExportError if the disk or the spool fails."""
        self._verdicts = bytearray(manifest.rows + 1)
        self._is_id = key.lower() == "id"
        self._case_sensitive = case_sensitive or self._is_id
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
        return [number for number in batch.row_numbers() if self._verdicts[number] == _SHARED]

    def _scatter(self, content: bytes, batch: SpooledBatch, key: str, buckets: Sequence[IO[bytes]]) -> None:
        for number, cell in zip(batch.row_numbers(), _cells(content, key), strict=True):
            if cell.strip() in NULLS:  # Salesforce keeps no blanks at the ends
                self._verdicts[number] = _EMPTY
                continue
            digest = hashlib.blake2b(self._normal(cell).encode(), digest_size=_DIGEST).digest()
            buckets[int.from_bytes(digest[:2], "big") % len(buckets)].write(digest + number.to_bytes(8, "big"))

    def _normal(self, cell: str) -> str:
        """Return what two cells have in common that name the same record."""
        if self._is_id:
            return cell[:15]  # the last three of eighteen characters only repeat the case of the others
        return cell.strip() if self._case_sensitive else cell.strip().casefold()

    def _compare(self, bucket: IO[bytes]) -> None:
        first_rows: dict[bytes, int] = {}
        bucket.seek(0)
        while record := bucket.read(_RECORD):
            number = int.from_bytes(record[_DIGEST:], "big")
            first = first_rows.setdefault(record[:_DIGEST], number)
            if first != number:
                self._verdicts[first] = self._verdicts[number] = _SHARED


def _cells(content: bytes, key: str) -> Iterator[str]:
    records = read_records(content)
    header = [name.lower() for name in next(records)]
    if key.lower() not in header:
        raise internal("KEY_MISSING", f"the spool has no column {key}")
    position = header.index(key.lower())
    for record in records:
        yield record[position]
