import csv
import datetime as dt
import errno
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.runs.exports import ListLedger, QuickControl, make_context

from exporter.failures import ExportError, FailureKind
from exporter.host import durable_files
from exporter.settings.file import FileConnection, FileExport
from exporter.spool.spool import Spool
from exporter.targets.file.target import FileTarget, file_name

SLOT = dt.datetime(2026, 11, 23, 23, 30, tzinfo=dt.timezone(dt.timedelta(hours=-5)))
BATCH = pa.record_batch(
    {
        "id": pa.array([1, 2, None], pa.int64()),
        "amount": pa.array([Decimal("1.10"), None, Decimal("-0.0000001")], pa.decimal128(38, 10)),
        "note": ['say "hi", now\r\n', "\u2028ü", ""],
        "at": pa.array([dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC), None, None], pa.timestamp("us", "UTC")),
        "on": [True, None, False],
        "day": pa.array([None, dt.date(2026, 1, 2), None]),
        "kind": pa.array(["a", None, "b"]).dictionary_encode(),
    }
)
NESTED = pa.record_batch(
    {
        "tags": [["a", None], None],
        "shape": [{"price": Decimal("1.50"), "day": dt.date(2026, 1, 2)}, {"price": None, "day": None}],
        "pairs": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int32())),
        "times": pa.array([[dt.datetime(2026, 1, 1, tzinfo=dt.UTC)], []], pa.list_(pa.timestamp("us", "Asia/Tokyo"))),
        "raw": [[b"\x00"], []],
    }
)


def make(directory: Path, file: str) -> FileTarget:
    options = FileExport.model_construct(file=file)
    return FileTarget(FileConnection(type="file", directory=str(directory)), options)


def publish(directory: Path, file: str, batch: pa.RecordBatch = BATCH, *, times: int = 1, run: str = "run") -> Path:
    target, spool = make(directory / "out", file), Spool(directory / run)
    rows = pa.RecordBatchReader.from_batches(batch.schema, [batch] * times)
    target.fill(rows, spool, control=QuickControl(), listen=lambda _: None)
    target.export(spool, make_context(ListLedger()))
    (path,) = (directory / "out").iterdir()
    return path


def test_csv_has_a_header_quotes_and_crlf(tmp_path: Path) -> None:
    content = publish(tmp_path, "x.csv").read_bytes()
    assert content.startswith(
        b'"id","amount","note","at","on","day","kind"\r\n"1","1.1000000000","say ""hi"", now\r\n"'
    )
    assert content.endswith(b'"","-0.0000001000","","","false","","b"\r\n')
    with (tmp_path / "out" / "x.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, strict=True))
    assert [row["note"] for row in rows] == ['say "hi", now\r\n', "\u2028ü", ""]
    assert rows[0]["at"] == "2026-01-01T12:00:00.000Z"


def test_csv_of_several_chunks_has_one_header(tmp_path: Path) -> None:
    lines = publish(tmp_path, "x.csv", pa.record_batch({"n": list(range(9_000))}), times=3).read_text().splitlines()
    assert lines == ['"n"', *([f'"{number}"' for number in range(9_000)] * 3)]


def test_an_empty_csv_still_has_its_header(tmp_path: Path) -> None:
    assert publish(tmp_path, "x.csv", BATCH.slice(0, 0)).read_bytes() == (
        b'"id","amount","note","at","on","day","kind"\r\n'
    )


def test_json_lines_keep_numbers_nulls_and_text(tmp_path: Path) -> None:
    text = publish(tmp_path, "x.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line, parse_float=Decimal) for line in text.splitlines()]
    assert rows[0] == {
        "id": 1,
        "amount": Decimal("1.1000000000"),
        "note": 'say "hi", now\r\n',
        "at": "2026-01-01T12:00:00.000Z",
        "on": True,
        "day": None,
        "kind": "a",
    }
    assert rows[1]["note"] == "\u2028ü"
    assert rows[2] == {
        "id": None,
        "amount": Decimal("-0.0000001000"),
        "note": "",
        "at": None,
        "on": False,
        "day": None,
        "kind": "b",
    }


def test_json_lines_nest(tmp_path: Path) -> None:
    text = publish(tmp_path, "x.jsonl", NESTED).read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == [
        {
            "tags": ["a", None],
            "shape": {"price": 1.5, "day": "2026-01-02"},
            "pairs": [["k", 1]],
            "times": ["2026-01-01T00:00:00.000Z"],
            "raw": ["AA=="],
        },
        {"tags": None, "shape": {"price": None, "day": None}, "pairs": [], "times": [], "raw": []},
    ]
    assert '"price":1.50' in text


def test_nan_inside_a_list_rejects_the_row_in_json_and_not_in_parquet(tmp_path: Path) -> None:
    batch = pa.record_batch({"n": [1, 2], "l": [[1.5], [float("nan")]]})
    target, spool = make(tmp_path / "out", "x.jsonl"), Spool(tmp_path / "spool")
    rows = pa.RecordBatchReader.from_batches(batch.schema, [batch])
    target.fill(rows, spool, control=QuickControl(), listen=lambda _: None)
    (row,) = spool.rejected()
    assert (row.number, row.code, row.values) == (2, "NOT_A_NUMBER", {"n": "2", "l": "[nan]"})
    assert pq.read_table(publish(tmp_path / "p", "x.parquet", batch)).num_rows == 2


@pytest.mark.parametrize("batch", [BATCH, NESTED])
def test_parquet_keeps_types_and_values(tmp_path: Path, batch: pa.RecordBatch) -> None:
    table = pq.read_table(publish(tmp_path, "x.parquet", batch, times=2))
    assert table.num_rows == 2 * batch.num_rows
    assert table.slice(0, batch.num_rows).to_pylist() == batch.to_pylist()
    if batch is BATCH:
        assert table.schema.types == batch.schema.types


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{job}-{scheduled_time}.csv", "contacts-20261124T043000Z.csv"),
        ("{date}.{job}.parquet", "2026-11-24.contacts.parquet"),
        ("fixed.jsonl", "fixed.jsonl"),
    ],
)
def test_a_name_says_job_and_slot_in_utc(template: str, name: str) -> None:
    assert file_name(template, job="contacts", scheduled_time=SLOT) == name


def test_a_job_named_like_a_placeholder_is_not_filled_in_again() -> None:
    with pytest.raises(ExportError, match="FILE_NAME"):
        file_name("{job}.csv", job="{date}", scheduled_time=SLOT)


@pytest.mark.parametrize(
    "template", ["../x.csv", "/etc/x.csv", "a/b.csv", ".hidden.csv", "..csv", "x.txt", "x", "{other}.csv", "x\0.csv"]
)
def test_a_name_that_leads_elsewhere_or_has_no_format_is_configuration(tmp_path: Path, template: str) -> None:
    with pytest.raises(ExportError, match="FILE_NAME") as caught:
        make(tmp_path, template)
    assert caught.value.kind is FailureKind.CONFIGURATION


def test_a_job_s_name_cannot_lead_elsewhere() -> None:
    with pytest.raises(ExportError, match="FILE_NAME"):
        file_name("{job}.csv", job="../../etc/x", scheduled_time=SLOT)


def test_a_file_of_that_name_is_replaced_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.csv").write_text("old " * 10_000)
    with (tmp_path / "out" / "x.csv").open() as reader:
        publish(tmp_path, "x.csv")
        assert reader.read() == "old " * 10_000


def test_others_may_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = publish(tmp_path, "x.csv")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, spool = make(tmp_path / "out", "x.csv"), Spool(tmp_path / "spool")
    target.fill(
        pa.RecordBatchReader.from_batches(BATCH.schema, [BATCH]), spool, control=QuickControl(), listen=lambda _: None
    )

    def full(_descriptor: int, _content: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable_files.os, "write", full)
    ledger = ListLedger()
    with pytest.raises(ExportError, match="DISK_FULL") as caught:
        target.export(spool, make_context(ledger))
    assert caught.value.kind is FailureKind.TRANSIENT
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    assert target.export(spool, make_context(ledger)).accepted == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.csv"]


def test_a_disk_that_fills_up_while_parquet_is_written_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _content: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable_files.os, "write", full)
    with pytest.raises(ExportError, match="DISK_FULL"):
        publish(tmp_path, "x.parquet")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    class KilledError(BaseException):
        pass

    class Killed(QuickControl):
        def check(self) -> None:
            raise KilledError

    out = tmp_path / "out"
    target, spool = make(out, "x.csv"), Spool(tmp_path / "spool")
    target.fill(
        pa.RecordBatchReader.from_batches(BATCH.schema, [BATCH]), spool, control=QuickControl(), listen=lambda _: None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_args, **_options: None)  # a killed process cleans nothing up
        with pytest.raises(KilledError):
            target.export(spool, make_context(ListLedger(), control=Killed()))
    (left,) = out.iterdir()
    assert left.name.startswith(".schedctl-1-")
    (out / ".schedctl-2-other.partial").write_text("another run's")
    target.abort(spool, make_context(ListLedger()))
    assert [path.name for path in out.iterdir()] == [".schedctl-2-other.partial"]


def test_a_check_finds_a_directory_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "not" / "yet" / "there", "x.csv").check()
    assert not (tmp_path / "not").exists()
    monkeypatch.setattr("exporter.targets.file.target.os.access", lambda *_: False)
    with pytest.raises(ExportError, match="DIRECTORY_NOT_WRITABLE"):
        make(tmp_path, "x.csv").check()


@pytest.mark.parametrize("format_name", ["csv", "jsonl", "parquet"])
def test_a_column_without_a_form_is_found_before_a_row_is_written(tmp_path: Path, format_name: str) -> None:
    batch = pa.record_batch({"span": pa.array([None], pa.month_day_nano_interval())})
    with pytest.raises(ExportError, match='"span"') as caught:
        publish(tmp_path, f"x.{format_name}", batch)
    assert caught.value.kind is FailureKind.CONFIGURATION


def test_lists_have_no_form_in_csv(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match='Column "tags" has no text form'):
        publish(tmp_path, "x.csv", NESTED)


def test_rejected_rows_at_the_start_and_the_end_are_numbered_right(tmp_path: Path) -> None:
    nan = float("nan")
    batch = pa.record_batch({"f": [nan, nan, 1.0, nan, 2.0, nan]})
    target, spool = make(tmp_path / "out", "x.csv"), Spool(tmp_path / "spool")
    rows: Any = pa.RecordBatchReader.from_batches(batch.schema, [batch])
    target.fill(rows, spool, control=QuickControl(), listen=lambda _: None)
    manifest = spool.manifest()
    assert manifest is not None
    assert list(manifest.batches[0].row_numbers()) == [3, 5]
