import csv
import datetime as dt
import io
import math
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples
from support.runs.exports import QuickControl

from exporter.events import Event, RowsSpooled
from exporter.failures import ExportError
from exporter.rows.casts import TextRules, salesforce_rules
from exporter.rows.rechunk import rechunk
from exporter.spool.csv_batches import PATTERNS, BatchLimits, spool_csv
from exporter.spool.spool import Spool, SpoolManifest

Row = dict[str, Any]


def reader(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(schema, batches)


def fill(directory: Path, batches: list[pa.RecordBatch], **options: Any) -> tuple[Spool, SpoolManifest, list[Event]]:
    spool, events = Spool(directory / "spool"), list[Event]()
    rows = reader(batches, batches[0].schema)
    manifest = spool_csv(rows, spool, control=QuickControl(), listen=events.append, **options)
    assert spool.manifest() == manifest
    return spool, manifest, events


def read_back(spool: Spool) -> dict[int, Row]:
    """Return every row of every batch by its number, read by Python's own CSV reader."""
    found: dict[int, Row] = {}
    manifest = spool.manifest()
    assert manifest is not None
    for batch in manifest.batches:
        lines = csv.DictReader(io.StringIO(spool.read(batch).decode(), newline=""), strict=True)
        rows = dict(zip(batch.row_numbers(), lines, strict=True))
        assert len(rows) == batch.rows
        assert not found.keys() & rows.keys()
        found |= rows
    return found


CELLS = st.text(st.one_of(st.sampled_from('",\r\n\u2028\u0085 #N/A\0😀'), st.characters(codec="utf-8")), max_size=12)


@given(
    batches=st.lists(st.lists(st.tuples(CELLS, st.one_of(st.none(), st.floats())), max_size=9), min_size=1, max_size=6),
    rows=st.integers(1, 7),
    size=st.integers(500, 900),
)
@examples(150)
def test_every_row_is_in_one_batch_or_rejected_and_reads_back_as_it_went_in(
    batches: list[list[tuple[str, float | None]]], rows: int, size: int
) -> None:
    schema = pa.schema([("A", pa.string()), ("B", pa.float64())])
    given_rows = [row for batch in batches for row in batch]
    arrow = [pa.record_batch([[a for a, _ in batch], [b for _, b in batch]], schema=schema) for batch in batches]
    with TemporaryDirectory() as directory:
        spool, manifest, events = fill(Path(directory), arrow, limits=BatchLimits(rows=rows, size=size))
        found = read_back(spool)
        rejected = {row.number: row for row in spool.rejected()}
        contents = [spool.read(batch) for batch in manifest.batches]
    bad = {
        number
        for number, (text, value) in enumerate(given_rows, start=1)
        if "\0" in text or text == "#N/A" or (value is not None and not math.isfinite(value))
    }
    assert rejected.keys() == bad
    assert found.keys() == set(range(1, len(given_rows) + 1)) - bad
    for number, row in found.items():
        text, value = given_rows[number - 1]
        assert row["A"] == text
        assert (float(row["B"]) if row["B"] else None) == value
    assert all(len(content) <= size for content in contents)
    assert all(batch.rows <= rows for batch in manifest.batches)
    assert (manifest.rows, manifest.rejected) == (len(given_rows), len(bad))
    told = [event for event in events if isinstance(event, RowsSpooled)]
    assert sum(event.rows for event in told) == len(given_rows)
    assert sum(event.rejected for event in told) == len(bad)


@given(
    sizes=st.lists(st.integers(0, 30), max_size=12), rows=st.integers(1, 11), size=st.sampled_from([1, 16, 90, 10**6])
)
def test_rechunk_gives_all_rows_in_order_within_both_bounds(sizes: list[int], rows: int, size: int) -> None:
    total = sum(sizes)
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    batches = [
        pa.record_batch({"n": pa.array(range(start, start + count), pa.int64())})
        for start, count in zip(starts, sizes, strict=True)
    ]
    chunks = list(rechunk(batches, rows=rows, size=size))
    assert [number for chunk in chunks for number in chunk.column("n").to_pylist()] == list(range(total))
    assert all(1 <= chunk.num_rows <= rows for chunk in chunks)
    assert all(chunk.nbytes <= max(size, 8) + 8 for chunk in chunks)
    if size == 10**6:
        assert all(chunk.num_rows == rows for chunk in chunks[:-1])


def test_one_huge_batch_of_the_source_becomes_batches_of_the_size_that_is_asked_for(tmp_path: Path) -> None:
    batch = pa.record_batch({"n": pa.array(range(25_001))})
    spool, manifest, events = fill(tmp_path, [batch])
    assert [each.rows for each in manifest.batches] == [10_000, 10_000, 5_001]
    assert [each.first_row for each in manifest.batches] == [1, 10_001, 20_001]
    assert [event.rows for event in events if isinstance(event, RowsSpooled)] == [10_000, 10_000, 5_001]
    assert read_back(spool)[25_001] == {"n": "25000"}


def test_many_small_batches_of_the_source_are_joined(tmp_path: Path) -> None:
    _, manifest, _ = fill(tmp_path, [pa.record_batch({"n": [1, 2, 3]})] * 10, limits=BatchLimits(rows=20))
    assert [each.rows for each in manifest.batches] == [20, 10]


def test_wide_rows_are_split_by_bytes_and_not_by_characters(tmp_path: Path) -> None:
    batch = pa.record_batch({"t": ["é" * 130_000] * 60})
    _, manifest, _ = fill(tmp_path, [batch])
    assert sum(each.rows for each in manifest.batches) == 60
    assert max(each.bytes for each in manifest.batches) <= 10_000_000
    assert len(manifest.batches) == 2


def test_gaps_name_the_rejected_rows_inside_a_batch_only(tmp_path: Path) -> None:
    nan = math.nan
    batch = pa.record_batch({"f": [nan, 1.0, nan, 2.0, nan, nan, 3.0, nan]})
    spool, manifest, _ = fill(tmp_path, [batch], limits=BatchLimits(rows=4))
    assert [(each.first_row, each.rows, each.gaps) for each in manifest.batches] == [(2, 2, (3,)), (7, 1, ())]
    assert [row.number for row in spool.rejected()] == [1, 3, 5, 6, 8]
    assert next(spool.rejected()).values == {"f": "nan"}


def test_a_result_whose_rows_are_all_rejected_has_no_batch(tmp_path: Path) -> None:
    _, manifest, _ = fill(tmp_path, [pa.record_batch({"f": [math.nan] * 3})])
    assert (manifest.batches, manifest.rows, manifest.rejected) == ((), 3, 3)


def test_an_empty_result_makes_a_complete_spool_with_its_columns(tmp_path: Path) -> None:
    empty = pa.RecordBatch.from_pylist([], schema=pa.schema([("a", pa.int64()), ("b", pa.date32())]))
    _, manifest, events = fill(tmp_path, [empty])
    assert (manifest.batches, manifest.rows, events) == ((), 0, [])
    assert [(column.name, column.type) for column in manifest.columns] == [("a", "int64"), ("b", "date32[day]")]


def test_a_row_of_one_null_is_no_blank_line(tmp_path: Path) -> None:
    spool, manifest, _ = fill(tmp_path, [pa.record_batch({"a": pa.array([None, "x"], pa.string())})])
    assert spool.read(manifest.batches[0]) == b'"a"\n""\n"x"\n'


def test_a_stop_passes_through_and_leaves_no_complete_spool(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    class Stopping(QuickControl):
        def check(self) -> None:
            self.waits.append(0)
            if len(self.waits) == 3:
                raise StopError

    spool = Spool(tmp_path)
    batch = pa.record_batch({"n": [1, 2, 3, 4, 5, 6]})
    with pytest.raises(StopError):
        spool_csv(
            reader([batch], batch.schema),
            spool,
            control=Stopping(),
            listen=lambda _: None,
            limits=BatchLimits(rows=2),
        )
    assert spool.manifest() is None


def test_what_the_query_raises_passes_through_and_leaves_no_complete_spool(tmp_path: Path) -> None:
    def broken() -> Any:
        yield pa.record_batch({"a": [1]})
        raise KeyError("mine")

    spool = Spool(tmp_path)
    with pytest.raises(KeyError, match="mine"):
        spool_csv(
            reader(broken(), pa.schema([("a", pa.int64())])), spool, control=QuickControl(), listen=lambda _: None
        )
    assert spool.manifest() is None


def test_columns_beyond_the_limits_of_the_api_are_a_configuration_fault(tmp_path: Path) -> None:
    many = pa.record_batch({f"c{number}": [1] for number in range(5_001)})
    with pytest.raises(ExportError, match="TOO_MANY_COLUMNS"):
        fill(tmp_path, [many])
    long = pa.record_batch({"x" * 32_000: [1]})
    with pytest.raises(ExportError, match="HEADER_TOO_LONG"):
        fill(tmp_path, [long])


def test_a_row_that_no_file_can_hold_is_never_cut(tmp_path: Path) -> None:
    batch = pa.record_batch({"t": ["x" * 100]})
    with pytest.raises(ExportError, match="ROW_TOO_LARGE"):
        fill(tmp_path, [batch], limits=BatchLimits(size=50), rules=TextRules())


def test_times_that_the_target_cannot_take_are_kept_as_the_source_gave_them(tmp_path: Path) -> None:
    early = dt.datetime(1600, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    columns = {
        "At__c": pa.array([early, early.replace(year=2000)], pa.timestamp("us", "UTC")),
        "Local__c": pa.array([None, dt.datetime(2026, 3, 8, 2, 30)], pa.timestamp("us")),  # noqa: DTZ001 - it has none
        "Endless__c": pa.array([2**62, None], pa.int64()).cast(pa.timestamp("us")),
    }
    spool = Spool(tmp_path / "spool")
    rules = salesforce_rules(naive_timezone="America/New_York")
    spool_csv(pa.table(columns).to_reader(), spool, control=QuickControl(), listen=lambda _event: None, rules=rules)
    first, second = spool.rejected()
    assert str(first.values["At__c"]).startswith("1600-01-02 03:04:05")
    assert first.values["Endless__c"]
    assert str(second.values["Local__c"]).startswith("2026-03-08 02:30")


PARENTS = ("Account.Ext__c", "Owner.Email", "Parent__r.Key__c")


@given(
    cells=st.lists(st.tuples(*[st.sampled_from(["", "a", "b", "\0"])] * 3), max_size=60),
    rows=st.integers(1, 9),
)
@examples(150)
def test_no_batch_holds_an_empty_cell_of_a_parents_column_and_every_row_is_in_one(
    cells: list[tuple[str, ...]], rows: int
) -> None:
    schema = pa.schema([("Name", pa.string()), *((name, pa.string()) for name in PARENTS)])
    given_rows = [{"Name": f"n{number}", **dict(zip(PARENTS, row, strict=True))} for number, row in enumerate(cells, 1)]
    batch = pa.RecordBatch.from_pylist(given_rows, schema=schema)
    with TemporaryDirectory() as directory:
        spool, manifest, _ = fill(Path(directory), [batch], limits=BatchLimits(rows=rows))
        kept = {row.number: dict(row.values) for row in spool.rejected()}
        for batch in manifest.batches:
            numbers = list(batch.row_numbers())
            assert len(numbers) == batch.rows <= rows
            header, *lines = csv.reader(io.StringIO(spool.read(batch).decode(), newline=""))
            assert sorted([*header, *batch.left_out]) == sorted(schema.names)
            assert all(all(line) for line in lines)
            kept |= dict(spool.values(batch, numbers))
    assert [{name: cell or "" for name, cell in kept[each].items()} for each in sorted(kept)] == given_rows


def test_rows_without_parents_come_first_so_that_children_find_them(tmp_path: Path) -> None:
    rows = [{"Key__c": f"k{n}", "Parent__r.Key__c": f"k{n - 1}" if n % 2 else None} for n in range(1, 41)]
    _, manifest, _ = fill(tmp_path, pa.Table.from_pylist(rows).to_batches(), limits=BatchLimits(rows=10))
    assert [batch.left_out for batch in manifest.batches] == [("Parent__r.Key__c",)] * 2 + [()] * 2
    assert [batch.rows for batch in manifest.batches] == [10] * 4
    assert list(manifest.batches[0].row_numbers()) == list(range(2, 21, 2))


def test_a_result_whose_parents_are_all_there_or_all_missing_makes_the_batches_that_it_always_made(
    tmp_path: Path,
) -> None:
    rows = [{"Name": "n", "Account.Ext__c": "a", "Owner.Email": None} for _ in range(25)]
    schema = pa.schema([("Name", pa.string()), ("Account.Ext__c", pa.string()), ("Owner.Email", pa.string())])
    table = pa.Table.from_pylist(rows, schema=schema)
    _, manifest, _ = fill(tmp_path, table.to_batches(), limits=BatchLimits(rows=10))
    assert [(batch.first_row, batch.rows, batch.picked) for batch in manifest.batches] == [
        (1, 10, ""),
        (11, 10, ""),
        (21, 5, ""),
    ]
    assert {batch.left_out for batch in manifest.batches} == {("Owner.Email",)}


def test_many_patterns_of_empty_cells_make_few_more_batches(tmp_path: Path) -> None:
    names = [f"P{number}__r.Key__c" for number in range(9)]
    rows = [
        {"Name": "n", **{name: "x" if number >> place & 1 else "" for place, name in enumerate(names)}}
        for number in range(512)
    ] * 4
    spool, manifest, _ = fill(tmp_path, pa.Table.from_pylist(rows).to_batches(), limits=BatchLimits(rows=100))
    assert len(manifest.batches) <= 2048 / 100 + 3 * PATTERNS
    assert len(read_back(spool)) == 2048
    assert (tmp_path / "spool" / "manifest.json").stat().st_size < 60 * len(manifest.batches) * 10


def test_a_row_of_nothing_but_missing_parents_keeps_a_column(tmp_path: Path) -> None:
    batch = pa.record_batch(
        {"A.X": [None, "a"], "B.X": [None, None]}, schema=pa.schema([("A.X", pa.string()), ("B.X", pa.string())])
    )
    spool, manifest, _ = fill(tmp_path, [batch])
    assert [each.left_out for each in manifest.batches] == [("B.X",), ("B.X",)]
    assert [spool.read(each) for each in manifest.batches] == [b'"A.X"\n""\n', b'"A.X"\n"a"\n']


def test_a_cell_that_empties_its_field_stays_where_it_is(tmp_path: Path) -> None:
    batch = pa.record_batch({"Name": ["a", "b"], "Account.Ext__c": [None, "x"]})
    spool, manifest, _ = fill(tmp_path, [batch], rules=salesforce_rules(nulls="clear"))
    (only,) = manifest.batches
    assert spool.read(only) == b'"Name","Account.Ext__c"\n"a","#N/A"\n"b","x"\n'
