"""Rows of digests on disk, cut into parts by the first bits of their keys, so that no part is too large for the memory.

A key's ``part`` is the number from 0 to 65,535 that its first two bytes make. Files are cut into :data:`BUCKETS`; where
one holds more than :data:`ROWS_AT_ONCE` rows, it is read in several parts. Both sides of a comparison are cut alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as pi
import pyarrow.parquet as pq

BUCKETS = 64
"""Files that are open at once while a result is staged."""
_BITS = 10
"""Bits of a part below those that say its bucket."""
ROWS_AT_ONCE = 100_000
"""Rows of one side that are held at once, about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The buckets from ``first`` to ``last``; or, of a single one, the ``number``-th of ``of`` pieces."""

    first: int
    last: int
    number: int = 0
    of: int = 1

    @property
    def buckets(self) -> range:
        """The numbers of the buckets."""
        return range(self.first, self.last + 1)

    def take(self, rows: pa.Table | pa.RecordBatch) -> pa.Table | pa.RecordBatch:
        """Return those of the buckets' ``rows``, which have a column ``part``, that belong to the piece."""
        if self.of == 1:
            return rows
        below = pc.bit_wise_and(rows["part"].cast(pa.uint32()), pa.scalar((1 << _BITS) - 1, pa.uint32()))
        piece = pc.shift_right(pc.multiply(below, pa.scalar(self.of, pa.uint32())), pa.scalar(_BITS, pa.uint32()))
        return rows.filter(pc.equal(piece, pa.scalar(self.number, pa.uint32())))


def parts_of(*counts: Sequence[int]) -> Iterator[Part]:
    """Yield the parts in which sides with so many rows in each bucket are compared, in the order of their buckets.

    Small buckets are taken together, and large ones in pieces.
    """
    sizes = [max(each) for each in zip(*counts, strict=True)]
    first = 0
    while first < len(sizes):
        last, rows = first, sizes[first]
        while last + 1 < len(sizes) and rows + sizes[last + 1] <= ROWS_AT_ONCE:
            last += 1
            rows += sizes[last]
        pieces = min(rows // ROWS_AT_ONCE + 1, 1 << _BITS) if first == last else 1
        yield from (Part(first=first, last=last, number=number, of=pieces) for number in range(pieces))
        first = last + 1


def by_bucket(rows: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Yield the buckets that ``rows`` have, with the rows of each."""
    buckets = pc.shift_right(rows["part"], pa.scalar(_BITS, pa.uint16()))
    for number in sorted(pc.unique(buckets).to_pylist()):
        yield number, rows.filter(pc.equal(buckets, pa.scalar(number, pa.uint16())))


class BucketWriter:
    """Writes rows with a column ``part`` into a file for each bucket; a context."""

    def __init__(self, directory: Path, schema: pa.Schema) -> None:
        directory.mkdir(mode=0o700)
        self._files = [pi.new_stream(str(_bucket(directory, number)), schema) for number in range(BUCKETS)]
        self.counts = [0] * BUCKETS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            file.close()

    def write(self, rows: pa.Table) -> None:
        """Add rows of any buckets."""
        for number, own in by_bucket(rows):
            self._files[number].write_table(own.combine_chunks())
            self.counts[number] += own.num_rows


def read_bucket(directory: Path, part: Part) -> pa.Table:
    """Return the rows of a part of what a :class:`BucketWriter` wrote into ``directory``."""
    found: list[pa.Table] = []
    for bucket in part.buckets:
        with pa.OSFile(str(_bucket(directory, bucket))) as file, pi.open_stream(file) as reader:
            found.append(pa.Table.from_batches([part.take(batch) for batch in reader], schema=reader.schema))
    return pa.concat_tables(found)


class Clustered:
    """A Parquet file with a column ``part``, whose groups of rows hold one bucket each; None is an empty one."""

    def __init__(self, path: Path | None, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._groups: list[list[int]] = [[] for _ in range(BUCKETS)]
        self.counts = [0] * BUCKETS
        if path is None:
            return
        with pq.ParquetFile(path) as file:
            if not set(schema.names) <= set(file.schema_arrow.names):
                raise ValueError("the file has other columns")
            place = file.schema_arrow.names.index("part")
            for number in range(file.num_row_groups):
                group = file.metadata.row_group(number)
                bucket = int(group.column(place).statistics.min) >> _BITS
                self._groups[bucket].append(number)
                self.counts[bucket] += group.num_rows

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(self.counts)

    def read(self, part: Part) -> pa.Table:
        """Return the rows of a part."""
        numbers = [number for bucket in part.buckets for number in self._groups[bucket]]
        if self._path is None or not numbers:
            return self._schema.empty_table()
        with pq.ParquetFile(self._path, page_checksum_verification=True) as file:
            groups = (file.read_row_group(number, use_threads=False) for number in numbers)
            return pa.concat_tables([part.take(group) for group in groups]).cast(self._schema)


def clustered_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a file for a :class:`Clustered`; :func:`write_clustered` adds rows to it."""
    return pq.ParquetWriter(
        path, schema, compression="NONE", use_dictionary=False, write_statistics=["part"], write_page_checksum=True
    )


def write_clustered(file: pq.ParquetWriter, rows: pa.Table) -> None:
    """Add the rows of a part, those of each bucket in a group of their own, in the order of the buckets."""
    for _, own in by_bucket(rows):
        file.write_table(own)


def _bucket(directory: Path, number: int) -> Path:
    return directory / f"{number:02d}.arrow"
