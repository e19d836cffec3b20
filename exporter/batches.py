"""Arrow batches of a size of our own choice, whatever sizes the source gives."""

from collections.abc import Iterable, Iterator

import pyarrow as pa


def rechunk(batches: Iterable[pa.RecordBatch], *, rows: int, size: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of ``batches`` in order, in batches of exactly ``rows`` rows but for the last.

    A batch ends sooner when its values take up about ``size`` bytes. Empty batches vanish. What is held at once is one
    batch of either side.
    """
    held: list[pa.RecordBatch] = []
    held_rows = held_size = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            take = min(rows - held_rows, batch.num_rows - start)
            piece = batch.slice(start, take)
            if held_size + piece.nbytes > size:
                piece = piece.slice(0, max(1, take * (size - held_size) // piece.nbytes))
            start += piece.num_rows
            held.append(piece)
            held_rows += piece.num_rows
            held_size += piece.nbytes
            if held_rows == rows or held_size >= size:
                yield _join(held)
                held, held_rows, held_size = [], 0, 0
    if held:
        yield _join(held)


def _join(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
