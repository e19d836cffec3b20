"""Some rows of a batch: their numbers in short, their cells, and a batch of only them. Pure."""

import csv
import io
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from exporter.failures import internal

if TYPE_CHECKING:
    import pyarrow as pa


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


def read_columns(content: bytes, names: Sequence[str], *, left_out: Collection[str] = ()) -> "pa.RecordBatch":
    """Return the columns ``names``, any case, of a CSV batch in that order: strings without nulls, an empty cell is "".

    The columns ``left_out`` are not in the batch, since all their cells are empty. Raises internal ``KEY_MISSING`` if
    the batch has none of another, and ``SPOOL_DAMAGED`` if it cannot be read.
    """
    import pyarrow as pa  # noqa: PLC0415 - it takes 0.2 s, and only rows need it
    import pyarrow.csv as pv  # noqa: PLC0415 - the same

    header = next(read_records(content))
    places = {name.lower(): name for name in header}
    absent = {name.lower() for name in left_out}
    for name in names:
        if name.lower() not in places and name.lower() not in absent:
            raise internal("KEY_MISSING", f"the spool has no column {name}")
    wanted = [places[name.lower()] for name in names if name.lower() in places]
    try:
        table = pv.read_csv(
            io.BytesIO(content),
            read_options=pv.ReadOptions(use_threads=False, block_size=max(len(content), 1 << 16)),
            parse_options=pv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=pv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                include_columns=wanted or header[:1],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowException as error:
        raise internal("SPOOL_DAMAGED", "a spooled batch cannot be read as CSV") from error
    nothing = pa.repeat(pa.scalar("", pa.string()), table.num_rows)
    columns = [
        table.column(places[name.lower()]).combine_chunks() if name.lower() in places else nothing for name in names
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(names))
