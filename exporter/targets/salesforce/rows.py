"""Some rows of a batch: their numbers in short, their cells, and a batch of only them. Pure."""

import csv
import io
import itertools
from collections.abc import Collection, Iterable, Iterator


def write_ranges(numbers: Iterable[int]) -> str:
    """Write ascending row numbers shortly, such as ``1-3,7``."""
    parts = []
    for _, group in itertools.groupby(enumerate(numbers), key=lambda item: item[1] - item[0]):
        run = [number for _, number in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ",".join(parts)


def read_ranges(text: str) -> Iterator[int]:
    """Yield the row numbers of :func:`write_ranges`."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def select_rows(content: bytes, numbers: Iterable[int], chosen: Collection[int]) -> bytes:
    """Return a CSV batch with the header and only the rows whose number, in ``numbers`` row by row, is chosen.

    The same input gives the same bytes, so that a hash tells later whether they arrived.
    """
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
    records = read_records(content)
    writer.writerow(next(records))
    for number, record in zip(numbers, records, strict=True):
        if number in chosen:
            writer.writerow(record)
    return written.getvalue().encode()


def read_records(content: bytes) -> Iterator[list[str]]:
    """Yield the header, then each row of a CSV batch as its cells."""
    with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="") as text:
        yield from csv.reader(text, strict=True)
