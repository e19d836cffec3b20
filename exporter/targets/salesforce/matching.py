"""Which row each line of Bulk API 2.0's results speaks of: they come in any order, with the columns as sent. Pure."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from exporter.targets.salesforce.results import ACCEPTED, RowResult, read_row_error
from exporter.targets.salesforce.rows import read_records

_OWN = frozenset({"sf__id", "sf__created", "sf__error"})
Cells = tuple[str, ...]


class UnmatchedError(ValueError):
    """The results do not speak of the rows that were sent."""


def match_results(
    content: bytes, successful: bytes, failed: bytes, unprocessed: bytes, *, key: str | None
) -> list[RowResult | None]:
    """Return what became of each row of ``content``, in its order; None where it was not processed.

    Rows are told apart by the field ``key``, which no two of them share, or else by all of their cells; of rows that
    are alike in everything it does not matter which one a line speaks of. Raises UnmatchedError unless there is one
    line for each row, or no line at all.
    """
    rows = read_records(content)
    header = [name.lower() for name in next(rows)]
    sent = [tuple(row) for row in rows]
    results: list[RowResult | None] = [None] * len(sent)
    told: list[tuple[Cells, RowResult | None]] = [*_read(failed, header, "sf__error"), *_read(successful, header, None)]
    told += [(cells, None) for cells, _ in _read(unprocessed, header, None)]
    if not told:
        return results
    if len(told) != len(sent):
        raise UnmatchedError(f"there are {len(told)} lines")
    position = header.index(key.lower()) if key is not None and key.lower() in header else None
    free = _positions(sent, position)
    for cells, result in told:
        left = free.get(_name(cells, position))
        if not left:
            raise UnmatchedError("a line speaks of a row that was not sent, or of one twice")
        results[left.pop()] = result
    return results


def read_all(successful: bytes, failed: bytes, unprocessed: bytes) -> Iterator[RowResult | None]:
    """Yield what became of the rows that the results speak of, whichever they are. Raises UnmatchedError."""
    for _, result in _read(failed, None, "sf__error"):
        yield result
    for _, result in _read(successful, None, None):
        yield result
    for _ in _read(unprocessed, None, None):
        yield None


def _positions(sent: Sequence[Cells], position: int | None) -> Mapping[Cells, list[int]]:
    free: defaultdict[Cells, list[int]] = defaultdict(list)
    for index in range(len(sent) - 1, -1, -1):  # so that the first of equal rows is taken first
        free[_name(sent[index], position)].append(index)
    return free


def _name(cells: Cells, position: int | None) -> Cells:
    return cells if position is None else (cells[position],)


def _read(content: bytes, header: Sequence[str] | None, error: str | None) -> Iterator[tuple[Cells, RowResult]]:
    """Yield each line's cells in the order of ``header``, none without one, and what it says."""
    try:
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
            lines = csv.reader(text, strict=True)
            names = [name.lower() for name in next(lines, [])]
            order = [] if header is None else _order(names, header)
            for line in lines:
                if len(line) != len(names):
                    raise UnmatchedError("a line is cut short")
                if error is not None and error not in names:
                    raise UnmatchedError(f"there is no column {error}")
                result = ACCEPTED if error is None else read_row_error(line[names.index(error)])
                yield tuple(line[index] for index in order), result
    except (csv.Error, UnicodeDecodeError) as fault:
        raise UnmatchedError("the results cannot be read") from fault


def _order(names: Sequence[str], header: Sequence[str]) -> list[int]:
    """Return where in a result each column of what was sent stands; nothing was told if there is no header at all."""
    if not names:
        return []
    given = [name for name in names if name not in _OWN]
    if sorted(given) != sorted(header):
        raise UnmatchedError("the columns are not those that were sent")
    return [names.index(name) for name in header]
