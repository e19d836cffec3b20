"""The Ids of the records that rows name by another key, found before anything is sent and kept on disk.

Rows and records meet in buckets of equal hashes, so that a result of any size needs little memory. The outcome is one
file: nineteen bytes for each row of the result, its fate and its record's Id.
"""

import csv
import hashlib
import io
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from exporter.failures import internal
from exporter.host.durable_files import create_file, disk_fault, make_directory, sync_directory, write_all
from exporter.rows.key_forms import BLANKS, normal, read_number
from exporter.spool.spool import Spool, SpooledBatch, SpoolManifest
from exporter.targets.salesforce.api.query import BULK_FROM, LONGEST_URL, PAGE, Queries
from exporter.targets.salesforce.api.row_results import RowResult
from exporter.targets.salesforce.api.soql import in_lists, literal, url_bytes
from exporter.targets.salesforce.fields import Field
from exporter.targets.salesforce.preparation.key_check import NULLS, key_form
from exporter.targets.salesforce.row_ranges import read_records

_ID = 18
_ENTRY = 1 + _ID
_UNKNOWN, _FOUND, _SEVERAL, _SHARED, _INEXACT = b"\0", b"\1", b"\2", b"\3", b"\4"
EXACT_DIGITS = 15
"""Decimal digits that a double holds. Salesforce answers with doubles, so a longer key may be another's."""
_DIGEST = 16
_ROW, _RECORD = _DIGEST + 8, _DIGEST + _ID
_BUCKET_ROWS = 100_000
_MAX_BUCKETS = 150
_FILE, _PARTIAL = "ids", "ids.partial"
MOST_PARENTS = 100_000
"""Different values of a column that links to parents, which are held in memory while the parents are looked up."""
BULK_CALLS = 12
"""Calls of a bulk query: open, hand over, polls, results, close."""


class IdLookup:
    """The Ids that were found for a spool's rows, in the file of ``directory``."""

    def __init__(self, directory: Path, key: str) -> None:
        self._path = directory / _FILE
        self._key = key

    def ids(self, batch: SpooledBatch) -> list[str | None]:
        """Return the Id of each row of the batch in its order; None where there is not exactly one record."""
        return [fate[1:].decode() if fate[:1] == _FOUND else None for fate in self._fates(batch)]

    def faults(self, batch: SpooledBatch) -> dict[int, RowResult]:
        """Return, by row number, why rows of the batch have no Id."""
        return {
            number: self._fault(fate)
            for number, fate in zip(batch.row_numbers(), self._fates(batch), strict=True)
            if fate[:1] != _FOUND
        }

    def _fates(self, batch: SpooledBatch) -> Iterator[bytes]:
        numbers = list(batch.row_numbers())
        if not numbers:
            return
        first, last = numbers[0], numbers[-1]
        try:
            with self._path.open("rb") as file:
                file.seek(first * _ENTRY)
                content = file.read((last - first + 1) * _ENTRY)
        except OSError as error:
            raise disk_fault(error, self._path.parent) from error
        if len(content) != (last - first + 1) * _ENTRY:
            raise internal("SPOOL_DAMAGED", f"{self._path} is shorter than the result")
        for number in numbers:
            start = (number - first) * _ENTRY
            yield content[start : start + _ENTRY]

    def _fault(self, fate: bytes) -> RowResult:
        if fate[:1] == _SEVERAL:
            count = int.from_bytes(fate[1:], "big")
            return RowResult(code="DUPLICATE_VALUE", message=f"{count} records have this {self._key}")
        if fate[:1] == _SHARED:
            return RowResult(code="DUPLICATE_VALUE", message=f"another row of the result has the same {self._key}")
        if fate[:1] == _INEXACT:
            told = f"{self._key}: a number of over {EXACT_DIGITS} digits cannot be looked up. Use a text field or Id"
            return RowResult(code="NUMBER_OUTSIDE_VALID_RANGE", message=told)
        return RowResult(code="ENTITY_NOT_FOUND", message=f"no record has this {self._key}")


def load_lookup(directory: Path, key: str) -> IdLookup:
    """Return the Ids that an earlier attempt found. Raises internal ``SPOOL_DAMAGED`` if they are gone."""
    if not (directory / _FILE).is_file():
        raise internal("SPOOL_DAMAGED", f"{directory} holds no Ids any more")
    return IdLookup(directory, key)


def build_lookup(  # noqa: PLR0917 - what is looked up, by what, for what, and where it goes
    queries: Queries,
    name: str,
    key: Field,
    spool: Spool,
    manifest: SpoolManifest,
    directory: Path,
    *,
    upsert: bool = False,
) -> IdLookup:
    """Find the records of the object ``name`` whose field ``key`` has the values of the spool's column of that name.

    ``upsert`` says that the records were written by an upsert, whose keys may be compared more strictly. What an
    earlier call completed in ``directory`` is used as it is. Raises ExportError.
    """
    if not (directory / _FILE).is_file():
        try:
            make_directory(directory)
            (directory / _PARTIAL).unlink(missing_ok=True)
            _Search(queries, name, key, spool, manifest, upsert=upsert).write(directory / _PARTIAL)
            (directory / _PARTIAL).rename(directory / _FILE)
            sync_directory(directory)
        except OSError as error:
            raise disk_fault(error, directory) from error
    return IdLookup(directory, key.name)


def count_missing(
    queries: Queries, name: str, key: Field, spool: Spool, manifest: SpoolManifest, *, column: str
) -> int:
    """Count the rows whose ``column`` names a record of the object ``name``, by its ``key``, that is not there.

    Rows without a value name none. With more than MOST_PARENTS different values nothing is looked up, and none counted.
    Raises ExportError.
    """
    search = _Search(queries, name, key, spool, manifest, upsert=False, column=column)
    missing = search.missing()
    return search.count_rows(missing) if missing else 0


def takes_all(*, lists: int, records: int) -> bool:
    """Whether reading all ``records`` takes fewer calls than ``lists`` queries for some keys each."""
    whole = BULK_CALLS + records // 250_000 if records >= BULK_FROM else 1 + records // PAGE
    return whole <= lists


class _Search:
    """One lookup under way."""

    def __init__(
        self,
        queries: Queries,
        name: str,
        key: Field,
        spool: Spool,
        manifest: SpoolManifest,
        *,
        upsert: bool,
        column: str | None = None,
    ) -> None:
        """Look for the values of ``column`` of the spool, by default the one that has the key's name."""
        self._column = column or key.name
        self._is_in_all = column is None
        """Whether each batch has the column; rows without a parent go in batches without it."""
        self._queries = queries
        self._object = name
        self._key = key
        self._form = key_form(key, upsert=upsert)
        self._spool = spool
        self._manifest = manifest

    def write(self, path: Path) -> None:
        """Write the fates of all rows to ``path``, durably."""
        records = self._queries.count(self._object)
        lists = sum(1 for _ in in_lists(self._literals(), longest=self._room()))
        too_long = any(url_bytes(each) > self._room() for each in self._literals())
        everything = too_long or takes_all(lists=lists, records=records)
        size = max(self._manifest.rows, records if everything else 0)
        count = min(_MAX_BUCKETS, size // _BUCKET_ROWS + 1)
        with ExitStack() as stack:
            rows, found = (
                [stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for _ in range(count)] for _ in range(2)
            )
            inexact: list[int] = []
            for number, cell in self._cells():
                if self._is_inexact(cell):
                    inexact.append(number)
                    continue
                digest = self._digest(cell)
                _bucket(rows, digest).write(digest + number.to_bytes(8, "big"))
            for record, value in self._everything(records) if everything else self._asked_for():
                if value:
                    digest = self._digest(value)
                    _bucket(found, digest).write(digest + record.encode().ljust(_ID))
            descriptor = create_file(path)
            try:
                for _ in range(0, self._manifest.rows + 1, _BUCKET_ROWS):
                    write_all(descriptor, bytes(_ENTRY * min(_BUCKET_ROWS, self._manifest.rows + 1)))
                for few, many in zip(rows, found, strict=True):
                    _join(few, many, lambda number, fate: os.pwrite(descriptor, fate, number * _ENTRY))
                for number in inexact:
                    os.pwrite(descriptor, _INEXACT.ljust(_ENTRY, b"\0"), number * _ENTRY)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def missing(self) -> frozenset[bytes]:
        """Return what :meth:`_digest` makes of the values that no record has; none if there are too many values."""
        wanted: dict[bytes, str] = {}
        for _, cell in self._cells():
            written = None if self._is_inexact(cell) else literal(cell, self._key.type)
            if written is not None:
                wanted[self._digest(cell)] = written
            if len(wanted) > MOST_PARENTS:
                return frozenset()
        records, lists = self._queries.count(self._object), list(in_lists(wanted.values(), longest=self._room()))
        too_long = any(url_bytes(each) > self._room() for each in wanted.values())
        everything = too_long or takes_all(lists=len(lists), records=records)
        for _, value in self._everything(records) if everything else self._of(lists):
            wanted.pop(self._digest(value), None) if value else None
        return frozenset(wanted)

    def count_rows(self, digests: Collection[bytes]) -> int:
        """Count the rows whose value is one of these."""
        return sum(not self._is_inexact(cell) and self._digest(cell) in digests for _, cell in self._cells())

    def _cells(self) -> Iterator[tuple[int, str]]:
        """Yield the number and the key of each row that has one."""
        for batch in self._manifest.batches:
            records = read_records(self._spool.read(batch))
            header = [column.lower() for column in next(records)]
            if self._column.lower() not in header and not self._is_in_all:
                continue
            if self._column.lower() not in header:
                raise internal("KEY_MISSING", f"the spool has no column {self._column}")
            position = header.index(self._column.lower())
            for number, record in zip(batch.row_numbers(), records, strict=True):
                cell = record[position].strip(BLANKS)
                if cell not in NULLS:
                    yield number, cell

    def _literals(self) -> Iterator[str]:
        for _, cell in self._cells():
            written = literal(cell, self._key.type)
            if written is not None and not self._is_inexact(cell):
                yield written

    def _asked_for(self) -> Iterator[tuple[str, str]]:
        """Ask for the records with these keys, as many keys at a time as a URL holds."""
        yield from self._of(in_lists(self._literals(), longest=self._room()))

    def _of(self, lists: Iterable[Sequence[str]]) -> Iterator[tuple[str, str]]:
        for some in lists:
            yield from self._rows(f"{self._selection()} WHERE {self._key.name} IN ({','.join(some)})", None)

    def _everything(self, records: int) -> Iterator[tuple[str, str]]:
        soql = f"{self._selection()} WHERE {self._key.name} != null"
        yield from self._rows(soql, self._object if records >= BULK_FROM else None)

    def _rows(self, soql: str, bulk_object: str | None) -> Iterator[tuple[str, str]]:
        for some in self._queries.rows(soql, ["Id", self._key.name], bulk_object=bulk_object):
            yield from ((record, value) for record, value in some)

    def _selection(self) -> str:
        return f"SELECT Id, {self._key.name} FROM {self._object}"  # noqa: S608 - API names, checked

    def _room(self) -> int:
        return LONGEST_URL - len(self._selection()) - len(self._key.name) - 50

    def _is_inexact(self, cell: str) -> bool:
        number = read_number(cell) if self._form == "number" else None
        if number is None:
            return False
        return number.adjusted() >= EXACT_DIGITS or len(number.normalize().as_tuple().digits) > EXACT_DIGITS

    def _digest(self, value: str) -> bytes:
        return hashlib.blake2b(normal(value, self._form).encode(), digest_size=_DIGEST).digest()


def _bucket(buckets: Sequence[IO[bytes]], digest: bytes) -> IO[bytes]:
    return buckets[int.from_bytes(digest[:2], "big") % len(buckets)]


def _join(rows: IO[bytes], records: IO[bytes], write: Callable[[int, bytes], object]) -> None:
    """Bring the rows and the records of one bucket together."""
    ids: dict[bytes, bytes] = {}
    more: Counter[bytes] = Counter()
    records.seek(0)
    while entry := records.read(_RECORD):
        digest, record = entry[:_DIGEST], entry[_DIGEST:]
        if ids.setdefault(digest, record) != record:
            more[digest] += 1
    numbers: dict[bytes, int] = {}
    rows.seek(0)
    while entry := rows.read(_ROW):
        digest, number = entry[:_DIGEST], int.from_bytes(entry[_DIGEST:], "big")
        first = numbers.setdefault(digest, number)
        if first != number:
            write(first, _SHARED.ljust(_ENTRY, b"\0"))
            write(number, _SHARED.ljust(_ENTRY, b"\0"))
        else:
            write(number, _fate(digest, ids, more))


def _fate(digest: bytes, ids: Mapping[bytes, bytes], more: Mapping[bytes, int]) -> bytes:
    if digest not in ids:
        return _UNKNOWN.ljust(_ENTRY, b"\0")
    if digest in more:
        return _SEVERAL + (more[digest] + 1).to_bytes(_ID, "big")
    return _FOUND + ids[digest]


def select_with_ids(
    content: bytes, batch: SpooledBatch, chosen: Collection[int], ids: Sequence[str | None], key: str
) -> bytes:
    """Return a CSV batch of the chosen rows with their ``Id`` in front and without the column ``key``.

    The same input gives the same bytes, so that a hash tells later whether they arrived.
    """
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
    records = read_records(content)
    header = next(records)
    position = [name.lower() for name in header].index(key.lower())
    writer.writerow(["Id", *header[:position], *header[position + 1 :]])
    for number, record, found in zip(batch.row_numbers(), records, ids, strict=True):
        if number in chosen and found is not None:
            writer.writerow([found, *record[:position], *record[position + 1 :]])
    return written.getvalue().encode()
