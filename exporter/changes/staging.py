"""A whole result on disk beside the digests of its rows, and what a comparison with a snapshot says of each of them.

The directory holds ``rows.arrow`` (the rows as the query gave them), ``digests`` (a file for each bucket of keys), and
after the comparison ``plan`` (a byte for each row, by its number), ``gone.parquet`` (the keys that left the result)
and, for a mirror, the spool ``gone`` of those. ``form`` says how its keys are told apart. One byte per row stays in
memory.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as pi
import pyarrow.parquet as pq

from exporter.changes.digests import SCHEMA, Digester
from exporter.changes.duckdb_engine import comparing, faults
from exporter.changes.key_form_change import in_form
from exporter.changes.parts import (
    BucketWriter,
    Clustered,
    Part,
    clustered_writer,
    parts_of,
    read_bucket,
    write_clustered,
)
from exporter.changes.rules import ChangeCounts, ChangeRules, Fate, not_unique
from exporter.failures import internal
from exporter.host.durable_files import make_directory, sync_directory
from exporter.ledger import Control
from exporter.rows.casts import TextCast
from exporter.rows.key_forms import Form
from exporter.spool.spool import Spool, SpooledColumn

_ROWS, _DIGESTS, _COUNTS, _PLAN, _GONE = "rows.arrow", "digests", "digests.json", "plan", "gone"
_FORM = "form"
_GROUP = 100_000
"""Rows of digests that are written at once."""
_GONE_ROWS = 10_000
_SEND, _KNOWN, _SHARED = 1, 2, 4
"""What a byte of the plan says of its row: it is to be sent; its key is in the snapshot; other rows have it too."""
SNAPSHOT = pa.schema(
    [
        pa.field("key", pa.binary()),
        pa.field("digest", pa.binary()),
        pa.field("text", pa.string()),
        pa.field("doubt", pa.bool_()),
        pa.field("part", pa.uint16()),
    ]
)
"""The columns of a snapshot; see :mod:`exporter.changes.snapshot`."""
GONE = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("key", pa.binary()),
        pa.field("text", pa.string()),
        pa.field("part", pa.uint16()),
    ]
)
"""Of each key that left the result: its number in the spool ``gone``, from 1, its digest, its text and its part."""


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
        with faults(self._directory), ExitStack() as stack:
            make_directory(self._directory)
            connection = stack.enter_context(comparing(self._directory))
            options = pi.IpcWriteOptions(compression="lz4")
            kept = stack.enter_context(pi.new_stream(str(self._directory / _ROWS), rows.schema, options=options))
            buckets = stack.enter_context(BucketWriter(self._directory / _DIGESTS, SCHEMA))
            digester = Digester(connection, rows.schema.names, rules)
            first, held = 1, list[pa.Table]()
            while (batch := _next(rows)) is not None:
                control.check()
                text = cast.apply(batch)
                held.append(digester.digest(text.batch, first, _mask(batch.num_rows, {f.index for f in text.faults})))
                kept.write_batch(batch)
                first += batch.num_rows
                if sum(table.num_rows for table in held) >= _GROUP:
                    buckets.write(pa.concat_tables(held))
                    held.clear()
            if held:
                buckets.write(pa.concat_tables(held))
            (self._directory / _COUNTS).write_text(json.dumps(buckets.counts), encoding="utf-8")
            (self._directory / _FORM).write_text(rules.form, encoding="utf-8")

    def compare(
        self, snapshot: Path | None, rules: ChangeRules, *, doubts_arrived: bool = True, resend: bool = False
    ) -> ChangeCounts:
        """Decide which rows are to be sent, beside the snapshot of an earlier run or none.

        ``doubts_arrived`` says what to take the snapshot's rows of unknown fate for; ``resend`` sends every row.
        Raises data ``CHANGES_KEY_NOT_UNIQUE``.
        """
        with faults(self._directory):
            before = self.beside(snapshot)
            plan = bytearray(sum(self._counts()) + 1)
            found = ChangeCounts()
            with comparing(self._directory) as connection, clustered_writer(self._gone_file, GONE) as gone:
                for part in parts_of(self._counts(), before.counts):
                    known = usable(before.read(part), doubts_arrived=doubts_arrived)
                    connection.register("s", known)
                    connection.register("d", read_bucket(self._directory / _DIGESTS, part))
                    decided = connection.sql(_decision(rules, resend=resend)).to_arrow_table()
                    for number, byte in zip(*(column.to_pylist() for column in decided.columns), strict=True):
                        plan[number] = byte
                    left = connection.sql(_LEFT).to_arrow_table()
                    self._write_gone(gone, left, found.gone)
                    found = replace(found, known=found.known + known.num_rows, gone=found.gone + left.num_rows)
            self._check_unique(rules, plan)
            (self._directory / _PLAN).write_bytes(plan)
            if rules.mode == "mirror":
                self._spool_gone(rules.key[0])
            self._make_durable()
        new, changed = (sum(plan.count(byte | shared) for shared in (0, _SHARED)) for byte in (_SEND, _SEND | _KNOWN))
        return replace(found, new=new, changed=changed, unchanged=len(plan) - 1 - new - changed)

    @property
    def form(self) -> Form | None:
        """How its keys are told apart; None for what an older schedctl staged."""
        try:
            return cast("Form", (self._directory / _FORM).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def beside(self, snapshot: Path | None) -> Clustered:
        """Open a snapshot to be compared with the result: its keys in the same form."""
        return Clustered(in_form(snapshot, self.form, SNAPSHOT, self._directory), SNAPSHOT)

    def selected(self) -> pa.RecordBatchReader:
        """Return the rows that are to be sent, in their order."""
        with faults(self._directory):
            reader = pi.open_stream(pa.OSFile(str(self._directory / _ROWS)))
            plan = self._plan()
        return pa.RecordBatchReader.from_batches(reader.schema, self._selected(reader, plan))

    def parts(self, *counts: list[int]) -> Iterator[Part]:
        """Yield the parts in which the result is compared with sides of such ``counts``."""
        yield from parts_of(self._counts(), *counts)

    def planned(self, fates: Mapping[int, int] | bytearray) -> "Planned":
        """Return what became of the rows; ``fates`` are those of the selected ones by their number there, from 1."""
        plan, sent = self._plan(), 0
        for number in range(1, len(plan)):
            if plan[number] & _SEND:
                sent += 1
                plan[number] = plan[number] & _SHARED | fates[sent] << 3
            else:
                plan[number] = Fate.UNCHANGED << 3
        return Planned(self._directory / _DIGESTS, plan)

    def gone_keys(self) -> Clustered:
        """Return the keys that left the result."""
        return Clustered(self._gone_file if pq.read_metadata(self._gone_file).num_rows else None, GONE)

    def check(self) -> None:
        """Raise internal ``SPOOL_DAMAGED`` if what the comparison left is not there any more."""
        if not all((self._directory / each).exists() for each in (_COUNTS, _PLAN, _DIGESTS)):
            raise internal(
                "SPOOL_DAMAGED", f"{self._directory} is gone: it says which rows of the result were to be sent"
            )

    def forget_rows(self) -> None:
        """Remove the staged rows, which nobody needs once those to be sent are spooled."""
        with faults(self._directory):
            (self._directory / _ROWS).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove all of it; none there is fine."""
        with faults(self._directory):
            shutil.rmtree(self._directory, ignore_errors=not self._directory.exists())

    @property
    def _gone_file(self) -> Path:
        return self._directory / f"{_GONE}.parquet"

    def _counts(self) -> list[int]:
        return list(json.loads((self._directory / _COUNTS).read_text(encoding="utf-8")))

    def _plan(self) -> bytearray:
        return bytearray((self._directory / _PLAN).read_bytes())

    def _write_gone(self, file: pq.ParquetWriter, left: pa.Table, before: int) -> None:
        left = left.sort_by("part")  # the order in which they are written, and read again
        numbers = pa.array(range(before + 1, before + 1 + left.num_rows), pa.int64())
        write_clustered(file, pa.table([numbers, left["key"], left["text"], left["part"]], schema=GONE))

    def _check_unique(self, rules: ChangeRules, plan: bytearray) -> None:
        if not rules.must_be_unique:
            return
        shared = sum(plan.count(byte) for byte in range(_SHARED, 2 * _SHARED))
        rows = read_bucket(self._directory / _DIGESTS, Part(first=0, last=0))  # where those without a key are
        without = sum(
            1 for key, faulty in zip(rows["key"], rows["faulty"], strict=True) if not (key.is_valid or faulty.as_py())
        )
        if shared or without:
            raise not_unique(rules.key, shared=shared, without=without)

    def _spool_gone(self, name: str) -> None:
        with pq.ParquetFile(self._gone_file) as file, self.gone.begin() as writer:
            groups = (file.read_row_group(number, columns=["text"]) for number in range(file.num_row_groups))
            cells = (cell for group in groups for cell in group.column(0).to_pylist())
            rows = 0
            while some := list(islice(cells, _GONE_ROWS)):
                writer.add(_one_column(name, some), rows=len(some), first_row=rows + 1)
                rows += len(some)
            writer.close([SpooledColumn(name=name, type="string")], rows=rows)

    def _selected(self, reader: pa.RecordBatchReader, plan: bytearray) -> Iterator[pa.RecordBatch]:
        at = 1
        with faults(self._directory):
            for batch in reader:
                mask = pa.array([bool(byte & _SEND) for byte in plan[at : at + batch.num_rows]], pa.bool_())
                if len(mask) != batch.num_rows:
                    raise internal("SPOOL_DAMAGED", "the staged rows and their plan are of different lengths")
                at += batch.num_rows
                if mask.true_count:
                    yield batch.filter(mask)

    def _make_durable(self) -> None:
        for file in [*self._directory.iterdir(), *(self._directory / _DIGESTS).iterdir()]:
            if file.is_file():
                sync_file(file)
        sync_directory(self._directory / _DIGESTS)
        sync_directory(self._directory)


class Planned:
    """What became of each row of a staged result."""

    def __init__(self, digests: Path, plan: bytearray) -> None:
        self._digests = digests
        self._plan = plan

    def read(self, part: Part) -> pa.Table:
        """Return ``key``, ``digest``, ``text``, ``part``, ``fate`` and ``shared`` of a part's rows that have a key.

        ``shared`` tells that other rows have it too.
        """
        rows = read_bucket(self._digests, part)
        rows = rows.filter(rows["key"].is_valid())
        bytes_ = [self._plan[number] for number in rows["number"].to_pylist()]
        made = rows.select(["key", "digest", "text", "part"])
        made = made.append_column("fate", pa.array([byte >> 3 for byte in bytes_], pa.uint8()))
        return made.append_column("shared", pa.array([bool(byte & _SHARED) for byte in bytes_], pa.bool_()))


def usable(snapshot: pa.Table, *, doubts_arrived: bool) -> pa.Table:
    """Return those rows of a snapshot that say what the target holds."""
    return snapshot if doubts_arrived else snapshot.filter(pc.invert(snapshot["doubt"]))


_LEFT = "select s.key, s.text, s.part from s where not exists (select 1 from d where d.key = s.key)"


def _decision(rules: ChangeRules, *, resend: bool) -> str:
    """Return the query for the number and the byte of each row."""
    differs = "false" if rules.mode == "new" else "s.digest <> d.digest"
    send = f"{'true' if resend else 'false'} or d.faulty or s.key is null or octet_length(s.digest) = 0"
    return f"""
        select d.number, case when {send} or d.shared or {differs} then {_SEND} else 0 end
          + case when s.key is not null then {_KNOWN} else 0 end + case when d.shared then {_SHARED} else 0 end as byte
        from (select *, key is not null and count(*) over (partition by key) > 1 as shared from d) d
          left join s on s.key = d.key"""  # noqa: S608 - our own terms


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
