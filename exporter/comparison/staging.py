"""A whole result on disk beside the digests of its rows, and what a comparison with a snapshot says of each of them.

The directory holds ``rows.arrow`` (the rows as the query gave them), ``digests.parquet``, and after the comparison
``plan.parquet`` (the digests with what is to be done, in the order of the rows), ``shared.parquet`` (keys that several
rows have) and, for a mirror, ``gone.parquet`` and the spool ``gone`` of the keys whose records are to be deleted.
"""

import csv
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as pi
import pyarrow.parquet as pq

from exporter.casts import TextCast
from exporter.changes import ChangeCounts, ChangeRules, Fate, not_unique
from exporter.comparison.digests import SCHEMA, Digester
from exporter.comparison.engine import comparing, faults, path_literal
from exporter.disk import make_directory, sync_directory
from exporter.failures import internal
from exporter.ledger import Control
from exporter.spool import Spool, SpooledColumn

_ROWS, _DIGESTS, _PLAN, _SHARED, _GONE = ("rows.arrow", "digests.parquet", "plan.parquet", "shared.parquet", "gone")
_GROUP = 100_000
"""Rows of digests that are written at once."""
_GONE_ROWS = 10_000
PLAN_SCHEMA = pa.schema(
    [
        pa.field("key", pa.binary()),
        pa.field("digest", pa.binary()),
        pa.field("text", pa.string()),
        pa.field("fate", pa.uint8()),
    ]
)
"""Of each row that has a key of its own: the digests, the key's text, and its :class:`~exporter.changes.Fate`."""


class Staging:
    """A staged result in ``directory``, which holds nothing else. Every failure is an ExportError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def directory(self) -> Path:
        """Where it lies."""
        return self._directory

    @property
    def gone(self) -> Spool:
        """The spool of the keys that left the result; it is complete only after a comparison for a mirror."""
        return Spool(self._directory / _GONE)

    def fill(self, rows: pa.RecordBatchReader, cast: TextCast, rules: ChangeRules, *, control: Control) -> None:
        """Stage every row; whatever ``rows`` and ``control`` raise passes through."""
        with faults(self._directory):
            make_directory(self._directory)
        with (
            comparing(self._directory) as connection,
            pi.new_stream(
                str(self._directory / _ROWS), rows.schema, options=pi.IpcWriteOptions(compression="lz4")
            ) as kept,
            pq.ParquetWriter(str(self._directory / _DIGESTS), SCHEMA, compression="NONE", use_dictionary=False) as file,
        ):
            digester = Digester(connection, rows.schema.names, rules)
            first, held = 1, list[pa.Table]()
            while (batch := _next(rows)) is not None:
                control.check()
                text = cast.apply(batch)
                held.append(digester.digest(text.batch, first, _mask(batch.num_rows, {f.index for f in text.faults})))
                kept.write_batch(batch)
                first += batch.num_rows
                if sum(table.num_rows for table in held) >= _GROUP:
                    file.write_table(pa.concat_tables(held))
                    held.clear()
            if held:
                file.write_table(pa.concat_tables(held))

    def compare(
        self, snapshot: Path | None, rules: ChangeRules, *, doubts_arrived: bool = True, resend: bool = False
    ) -> ChangeCounts:
        """Decide which rows are to be sent, beside the snapshot of an earlier run or none.

        ``doubts_arrived`` says what to take the snapshot's rows of unknown fate for; ``resend`` sends every row.
        Raises data ``CHANGES_KEY_NOT_UNIQUE``.
        """
        with comparing(self._directory) as connection:
            self._see(connection, snapshot, doubts_arrived=doubts_arrived)
            self._copy(
                connection, _SHARED, "select key from digests where key is not null group by key having count(*) > 1"
            )
            connection.execute(f"create view shared as from read_parquet({self._literal(_SHARED)})")
            differs = "false" if rules.mode == "new" else "s.digest <> d.digest"
            send = f"{'true' if resend else 'false'} or d.faulty or s.key is null or octet_length(s.digest) = 0"
            self._copy(
                connection,
                _PLAN,
                f"""select d.number, d.key, d.digest, d.text, h.key is not null as shared, s.key is not null as known,
                      ({send} or h.key is not null or {differs}) as send
                    from digests d left join snapshot s on s.key = d.key left join shared h on h.key = d.key
                    order by d.number""",  # noqa: S608 - our own terms
            )
            counts = self._count(connection, rules)
            self._copy(
                connection,
                f"{_GONE}.parquet",
                """select row_number() over () as number, s.key, s.text
                   from snapshot s where not exists (select 1 from digests d where d.key = s.key)""",
            )
            if rules.mode == "mirror":
                self._spool_gone(connection, rules.key[0])
        with faults(self._directory):
            self._make_durable()
        return counts

    def selected(self) -> pa.RecordBatchReader:
        """Return the rows that are to be sent, in their order."""
        with faults(self._directory):
            reader = pi.open_stream(pa.OSFile(str(self._directory / _ROWS)))
        return pa.RecordBatchReader.from_batches(reader.schema, self._selected(reader))

    def planned(self, fates: Mapping[int, int] | bytearray) -> pa.RecordBatchReader:
        """Return what became of each row that has a key of its own (see :data:`PLAN_SCHEMA`).

        ``fates`` are the fates of the selected rows by their number among these, from 1.
        """
        return pa.RecordBatchReader.from_batches(PLAN_SCHEMA, self._planned(fates))

    def shared_file(self) -> Path:
        """Return the file of the keys that several rows of the result have."""
        return self._directory / _SHARED

    def gone_file(self) -> Path:
        """Return the file of the keys that left the result, numbered as in the spool ``gone``."""
        return self._directory / f"{_GONE}.parquet"

    def forget_rows(self) -> None:
        """Remove the staged rows, which nobody needs once those to be sent are spooled."""
        with faults(self._directory):
            (self._directory / _ROWS).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove all of it; none there is fine."""
        with faults(self._directory):
            shutil.rmtree(self._directory, ignore_errors=not self._directory.exists())

    def _see(self, connection: duckdb.DuckDBPyConnection, snapshot: Path | None, *, doubts_arrived: bool) -> None:
        connection.execute(f"create view digests as from read_parquet({self._literal(_DIGESTS)})")
        see_snapshot(connection, snapshot, doubts_arrived=doubts_arrived)

    def _count(self, connection: duckdb.DuckDBPyConnection, rules: ChangeRules) -> ChangeCounts:
        sql = f"""select count(*) filter (send and not known), count(*) filter (send and known),
                    count(*) filter (not send), count(*) filter (shared),
                    (select count(*) from digests where key is null and not faulty),
                    (select count(*) from snapshot),
                    (select count(*) from snapshot s where not exists (select 1 from digests d where d.key = s.key))
                  from read_parquet({self._literal(_PLAN)})"""  # noqa: S608 - a path of our own
        [(new, changed, unchanged, shared, without, known, gone)] = connection.sql(sql).fetchall()
        if rules.must_be_unique and (shared or without):
            raise not_unique(rules.key, shared=shared, without=without)
        return ChangeCounts(new=new, changed=changed, unchanged=unchanged, gone=gone, known=known)

    def _spool_gone(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        reader = connection.sql(
            f"select text from read_parquet({self._literal(f'{_GONE}.parquet')}) order by number"  # noqa: S608 - a path of our own
        ).to_arrow_reader(_GONE_ROWS)
        rows = 0
        with closing(reader), self.gone.begin() as writer:
            for batch in reader:
                cells = batch.column(0).to_pylist()
                for start in range(0, len(cells), _GONE_ROWS):
                    some = cells[start : start + _GONE_ROWS]
                    writer.add(_one_column(name, some), rows=len(some), first_row=rows + 1)
                    rows += len(some)
            writer.close([SpooledColumn(name=name, type="string")], rows=rows)

    def _selected(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        with faults(self._directory), pq.ParquetFile(self._directory / _PLAN) as plan:
            flags = _Column(plan, "send")
            for batch in reader:
                mask = flags.take(batch.num_rows)
                if mask.true_count:
                    yield batch.filter(mask)

    def _planned(self, fates: Mapping[int, int] | bytearray) -> Iterator[pa.RecordBatch]:
        sent = 0
        with faults(self._directory), pq.ParquetFile(self._directory / _PLAN) as plan:
            for batch in _row_groups(plan, ["key", "digest", "text", "shared", "send"]):
                found = bytearray(batch.num_rows)
                for place, send in enumerate(batch.column("send").to_pylist()):
                    sent += send
                    found[place] = fates[sent] if send else Fate.UNCHANGED
                columns = [batch.column(name) for name in ("key", "digest", "text")]
                made = pa.RecordBatch.from_arrays([*columns, pa.array(found, pa.uint8())], schema=PLAN_SCHEMA)
                own = pc.and_not(pc.is_valid(batch.column("key")), batch.column("shared"))
                yield made.filter(own)

    def _copy(self, connection: duckdb.DuckDBPyConnection, name: str, query: str) -> None:
        write_parquet(connection, query, self._directory / name)

    def _literal(self, name: str) -> str:
        return path_literal(self._directory / name)

    def _make_durable(self) -> None:
        for file in self._directory.glob("*.parquet"):
            sync_file(file)
        sync_directory(self._directory)


def see_snapshot(connection: duckdb.DuckDBPyConnection, snapshot: Path | None, *, doubts_arrived: bool) -> None:
    """Make the view ``snapshot``: ``key``, ``digest`` (empty: to be sent again) and ``text`` of what is there."""
    if snapshot is None:
        connection.execute("create view snapshot as select ''::blob as key, ''::blob as digest, '' as text limit 0")
        return
    kept = "" if doubts_arrived else " where not doubt"
    connection.execute(
        f"create view snapshot as select key, digest, text from read_parquet({path_literal(snapshot)}){kept}"  # noqa: S608 - a path of our own
    )


def write_parquet(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    """Write what a query gives into a file."""
    form = f"format parquet, compression uncompressed, row_group_size {_GROUP}"
    connection.execute(f"copy ({query}) to {path_literal(path)} ({form})")


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _row_groups(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows, one group of them at a time: Arrow's own iterator decodes all groups at once."""
    for number in range(file.num_row_groups):
        yield from file.read_row_group(number, columns=columns, use_threads=False).to_batches()


class _Column:
    """One boolean column of a file, taken a few rows at a time."""

    def __init__(self, file: pq.ParquetFile, name: str) -> None:
        self._batches = (batch.column(name) for batch in _row_groups(file, [name]))
        self._rest = pa.array([], pa.bool_())

    def take(self, rows: int) -> pa.BooleanArray:
        """Return the next ``rows`` values. Raises internal if there are not so many."""
        pieces = [self._rest]
        while sum(map(len, pieces)) < rows:
            more = next(self._batches, None)
            if more is None:
                raise internal("SPOOL_DAMAGED", "the staged rows and their plan are of different lengths")
            pieces.append(more)
        joined = pa.concat_arrays(pieces)
        self._rest = joined.slice(rows)
        return joined.slice(0, rows)


def _next(rows: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """Return the next batch with rows in it: what the source raises is its own."""
    while (batch := next(rows, None)) is not None:
        if batch.num_rows:
            return batch
    return None


def _mask(length: int, places: set[int]) -> pa.Array:
    mask = [False] * length
    for place in places:
        mask[place] = True
    return pa.array(mask, pa.bool_())


def _one_column(name: str, cells: list[str]) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow([name])
    writer.writerows([cell] for cell in cells)
    return written.getvalue().encode()
