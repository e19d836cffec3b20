"""Batches of a size of our own choice, in rows and in bytes, whatever sizes the source gives."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa

from exporter.host.memory import use_little_memory

BATCH_BYTES = 8_000_000
"""About how many bytes of values a batch holds; one row that is larger is a batch of its own.

Each step of a run holds one batch and what it makes of it, so its memory is some multiple of this, however wide rows
are. A cell of a Salesforce long text area has up to 131,072 characters: 61 of those make a batch.
"""
PIECE_ROWS = 64
"""Rows that are fetched before anybody knows how wide they are, where a fetch costs no answer from a server."""
_PIECE_BYTES = 1_000_000

_Row = TypeVar("_Row", bound=Sequence[object])
_Batch = TypeVar("_Batch")

use_little_memory()  # here, as whoever moves rows has imported this


def rechunk(batches: Iterable[pa.RecordBatch], *, rows: int, size: int = BATCH_BYTES) -> Iterator[pa.RecordBatch]:
    """Yield the rows of ``batches`` in order, in batches of exactly ``rows`` rows but for the last.

    A batch ends sooner when one more row would take its values over ``size`` bytes; a row that is larger than that is
    a batch of its own. Empty batches vanish. What is held at once is one batch of either side.
    """
    held: list[pa.RecordBatch] = []
    held_rows = held_size = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, rows - held_rows)
            while held_size + piece.nbytes > size and piece.num_rows > 1:
                piece = piece.slice(0, max(1, piece.num_rows * (size - held_size) // piece.nbytes))
            if held_size + piece.nbytes <= size or not held:
                start += piece.num_rows
                held.append(piece)
                held_rows += piece.num_rows
                held_size += piece.nbytes
                if held_rows < rows and held_size < size:
                    continue
            del piece
            yield _joined(held)
            held_rows = held_size = 0
        del batch  # or it would be held while the next one is made
    if held:
        yield _joined(held)


def _joined(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Return some pieces as one batch; the list is empty then, so that what they are cut from is not held by it."""
    batch = pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
    pieces.clear()
    return batch


def fetch_batches(
    fetch: Callable[[int], Sequence[_Row]],
    make: Callable[[list[_Row]], _Batch],
    *,
    rows: int,
    first: Sequence[_Row] = (),
    size: int = BATCH_BYTES,
    piece_rows: int = PIECE_ROWS,
) -> Iterator[_Batch]:
    """Yield what ``make`` makes of the rows that ``fetch`` gives, at most ``rows`` of them or ``size`` bytes at a time.

    ``fetch`` takes how many rows it may give, and gives none at the end; ``first`` are rows that were fetched already.
    It is asked for a few rows at a time: for fewer where the last ones were wide, and never for more than
    ``piece_rows``, which is how many rows can be held beyond ``size`` when rows suddenly become wide. A row that is
    larger than ``size`` is made by itself. While a batch is out, its rows are no longer held.
    """
    held: list[_Row] = []
    held_size, count = 0, 1

    def made() -> _Batch:
        nonlocal held, held_size
        batch = make(held)
        held, held_size = [], 0
        return batch

    piece = first or fetch(count)
    while piece:
        piece_size = bytes_of(piece)
        count = max(1, min(2 * count, piece_rows, _PIECE_BYTES * len(piece) // max(1, piece_size)))
        if held_size + piece_size <= size and len(held) + len(piece) <= rows:
            held += piece
            held_size += piece_size
        else:
            for row in piece:
                row_size = bytes_of([row])
                if held and (len(held) == rows or held_size + row_size > size):
                    yield made()
                held.append(row)
                held_size += row_size
            del row
        piece = ()  # or the largest rows would be held while the next ones come
        if len(held) == rows or held_size >= size:
            yield made()
        piece = fetch(min(count, rows - len(held)))
    if held:
        yield made()


def bytes_of(rows: Sequence[Sequence[object]]) -> int:
    """Return about how many bytes the values of rows take up; only texts, bytes and what nests count in full."""
    total = 0
    try:
        columns = list(zip(*rows, strict=False))  # a row of another length, or none at all, is its reader's to refuse
    except TypeError:
        return _PLAIN * len(rows)
    for column in columns:
        try:
            total += len("".join(column))  # quicker than to ask each for its length
        except TypeError:
            kinds = set(map(type, column))
            total += sum(map(_size, column)) if kinds & _VARYING else _PLAIN * len(column)
    return total


_VARYING = frozenset({str, bytes, bytearray, memoryview, list, tuple, dict})
_PLAIN = 8


def _size(value: object) -> int:
    if isinstance(value, str | bytes | bytearray | memoryview):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(key) + _size(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return _PLAIN
