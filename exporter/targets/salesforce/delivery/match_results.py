"""Which row each line of Bulk API 2.0's results speaks of: they come in any order, with the columns as sent. Pure."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from exporter.targets.salesforce.api.row_results import ACCEPTED, RecordIds, RowResult, read_row_error
from exporter.targets.salesforce.http.responses import UnreadableAnswerError
from exporter.targets.salesforce.row_ranges import read_records

_OWN = frozenset({"sf__id", "sf__created", "sf__error"})
Cells = tuple[str, ...]


class UnmatchedError(ValueError):
    """The results do not speak of the rows that were sent."""


def match_results(
    content: bytes,
    successful: bytes,
    failed: bytes,
    unprocessed: bytes,
    *,
    key: str | None,
    unique: bool = False,
    has_ids: bool = True,
) -> list[RowResult | None]:
    """Return what became of each row of ``content``, in its order; None where it was not processed.

    Rows are told apart by the field ``key``, which no two of them share, or else by all of their cells; of rows that
    are alike in everything it does not matter which one a line speaks of. ``unique`` and ``has_ids`` are those of
    :class:`~exporter.targets.salesforce.api.row_results.RecordIds`. Raises UnmatchedError unless there is one line for
    each     row, or no line at all.
    """
    rows = read_records(content)
    header = [name.lower() for name in next(rows)]
    sent = [tuple(row) for row in rows]
    results: list[RowResult | None] = [None] * len(sent)
    ids = RecordIds(unique=unique, has_ids=has_ids)
    told: list[tuple[Cells, RowResult | None]] = list(_read(failed, header, error="sf__error"))
    told += _read(successful, header, ids=ids)
    told += [(cells, None) for cells, _ in _read(unprocessed, header)]
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


def read_all(
    successful: bytes, failed: bytes, unprocessed: bytes, *, unique: bool = False, has_ids: bool = True
) -> Iterator[RowResult | None]:
    """Yield what became of the rows that the results speak of, whichever they are. Raises UnmatchedError."""
    for _, result in _read(failed, None, error="sf__error"):
        yield result
    for _, result in _read(successful, None, ids=RecordIds(unique=unique, has_ids=has_ids)):
        yield result
    for _ in _read(unprocessed, None):
        yield None


def _positions(sent: Sequence[Cells], position: int | None) -> Mapping[Cells, list[int]]:
    free: defaultdict[Cells, list[int]] = defaultdict(list)
    for index in range(len(sent) - 1, -1, -1):  # so that the first of equal rows is taken first
        free[_name(sent[index], position)].append(index)
    return free


def _name(cells: Cells, position: int | None) -> Cells:
    return cells if position is None else (cells[position],)


def _read(
    content: bytes, header: Sequence[str] | None, *, error: str | None = None, ids: RecordIds | None = None
) -> Iterator[tuple[Cells, RowResult]]:
    """Yield each line's cells in the order of ``header``, none without one, and what it says.

    ``error`` is the column of the errors, and ``ids`` takes in the records, where there are any.
    """
    try:
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
            lines = csv.reader(text, strict=True)
            names = [name.lower() for name in next(lines, [])]
            order = [] if header is None else _order(names, header)
            for line in lines:
                if len(line) != len(names):
                    raise UnmatchedError("a line is cut short")
                for needed in filter(None, (error, "sf__id" if ids is not None else None)):
                    if needed not in names:
                        raise UnmatchedError(f"there is no column {needed}")
                if ids is not None:
                    ids.add(line[names.index("sf__id")])
                result = ACCEPTED if error is None else read_row_error(line[names.index(error)])
                yield tuple(line[index] for index in order), result
    except (csv.Error, UnicodeDecodeError) as fault:
        raise UnmatchedError("the results cannot be read") from fault
    except UnreadableAnswerError as fault:
        raise UnmatchedError(str(fault)) from fault


def _order(names: Sequence[str], header: Sequence[str]) -> list[int]:
    """Return where in a result each column of what was sent stands; without a header, nothing is known."""
    if not names:
        return []
    given = [name for name in names if name not in _OWN]
    if sorted(given) != sorted(header):
        raise UnmatchedError("the columns are not those that were sent")
    return [names.index(name) for name in header]
