import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.failures import ExportError, FailureKind
from exporter.host import durable_files
from exporter.report import RejectedRow
from exporter.spool import spool
from exporter.spool.spool import Spool, SpooledBatch, SpooledColumn, pick

COLUMNS = (SpooledColumn(name="Email", type="string"), SpooledColumn(name="Score__c", type="int64"))
FIRST = b'"Email","Score__c"\n"a@example.org","1"\n"b, ""b""\r\n","2"\n'
SECOND = '"Email","Score__c"\n"ü\u2028","#N/A"\n"",""\n'.encode()
REFUSED = RejectedRow(number=3, values={"Email": "x\x00", "Score__c": None}, code="NUL_CHARACTER", message="no NUL")


@pytest.fixture
def filled(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "deep" / "run-1")
    with made.begin() as writer:
        writer.add(FIRST, rows=2, first_row=1)
        writer.reject([REFUSED])
        writer.reject([])
        writer.add(memoryview(SECOND), rows=2, first_row=4, gaps=(5,))
        writer.reject([RejectedRow(number=5, values={}, code="NOT_A_NUMBER", message="nan")])
        writer.close(COLUMNS, rows=6)
    return Spool(tmp_path / "deep" / "run-1")


def test_a_spool_gives_back_what_was_written_to_another_process(filled: Spool) -> None:
    manifest = filled.manifest()
    assert manifest is not None
    assert manifest.columns == COLUMNS
    assert (manifest.rows, manifest.rejected, manifest.format) == (6, 2, "csv")
    first, second = manifest.batches
    assert (first.number, first.rows, first.bytes, first.first_row, first.gaps) == (1, 2, len(FIRST), 1, ())
    assert first.sha256 == hashlib.sha256(FIRST).hexdigest()
    assert list(first.row_numbers()) == [1, 2]
    assert list(second.row_numbers()) == [4, 6]
    assert [filled.read(batch) for batch in manifest.batches] == [FIRST, SECOND]
    assert filled.path(second).read_bytes() == SECOND
    assert [row.number for row in filled.rejected()] == [3, 5]
    assert next(filled.rejected()) == REFUSED


def test_only_the_owner_can_read_it(filled: Spool) -> None:
    manifest = filled.manifest()
    assert manifest is not None
    modes = {stat.S_IMODE(path.stat().st_mode) for path in filled.directory.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(filled.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(filled.directory.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(filled.path(manifest.batches[0]).parent.stat().st_mode) == 0o700


def test_values_of_wanted_rows_come_by_row_number_as_they_were_sent(filled: Spool) -> None:
    manifest = filled.manifest()
    assert manifest is not None
    first, second = manifest.batches
    assert list(filled.values(first, {2})) == [(2, {"Email": 'b, "b"\r\n', "Score__c": "2"})]
    assert list(filled.values(second, [6, 4, 5])) == [
        (4, {"Email": "ü\u2028", "Score__c": "#N/A"}),
        (6, {"Email": None, "Score__c": None}),
    ]
    assert list(filled.values(first, ())) == []


def test_values_reads_the_longest_text_that_salesforce_takes(tmp_path: Path) -> None:
    made = Spool(tmp_path)
    longest = "x" * 131_072
    with made.begin() as writer:
        writer.add(f'"A"\n"{longest}"\n'.encode(), rows=1, first_row=1)
        manifest = writer.close([SpooledColumn(name="A", type="string")], rows=1)
    assert list(made.values(manifest.batches[0], [1])) == [(1, {"A": longest})]


def test_a_spool_without_rows_is_complete(tmp_path: Path) -> None:
    made = Spool(tmp_path)
    with made.begin() as writer:
        assert made.manifest() is None
        writer.close(COLUMNS, rows=0)
    manifest = made.manifest()
    assert manifest is not None
    assert manifest.batches == ()
    assert list(made.rejected()) == []


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_a_writer_that_is_left_before_its_end_gives_the_disk_back_at_once(tmp_path: Path) -> None:
    def held() -> list[str]:
        links = map(os.path.realpath, Path("/proc/self/fd").iterdir())
        return [link for link in links if link.startswith(str(tmp_path))]

    made = Spool(tmp_path)
    with made.begin() as writer:
        writer.add(FIRST, rows=2, first_row=1)
        writer.reject([REFUSED])
        writer.create().write(SECOND)
        assert (len(files(tmp_path)), len(held())) == (3, 2)
    assert (files(tmp_path), held()) == ([], [])
    assert made.manifest() is None


def test_a_filling_leaves_the_end_of_the_disk_to_others(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    free = found.f_bavail * found.f_frsize
    narrow = Spool(tmp_path / "run-1", keep_free=free + 10**12)
    with pytest.raises(ExportError) as caught, narrow.beside("deleted").begin() as writer:
        writer.add(FIRST, rows=2, first_row=1)
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "DISK_FULL")
    assert f"{tmp_path}/run-1-deleted/filling-" in caught.value.message
    assert "are left to others" in caught.value.message
    assert files(tmp_path) == []
    with Spool(tmp_path / "run-2", keep_free=1).begin() as writer:
        writer.add(FIRST, rows=2, first_row=1)
        writer.close(COLUMNS, rows=2)
    assert len(files(tmp_path)) == 2


def test_an_incomplete_filling_can_be_taken_from_its_writer_and_a_complete_one_cannot(filled: Spool) -> None:
    assert not filled.abandon()
    assert filled.manifest() is not None
    other = filled.beside("other")
    assert not other.abandon()
    writer = other.begin()
    writer.add(FIRST, rows=2, first_row=1)
    assert other.abandon()
    assert files(other.directory) == []
    with pytest.raises(ExportError):
        writer.add(SECOND, rows=2, first_row=3)


def test_what_was_not_closed_does_not_count_and_is_thrown_away(tmp_path: Path) -> None:
    made = Spool(tmp_path)
    killed = made.begin()
    killed.add(FIRST, rows=2, first_row=1)
    killed.reject([REFUSED])
    assert made.manifest() is None
    assert list(made.rejected()) == []
    with made.begin() as writer:
        writer.add(SECOND, rows=2, first_row=1)
        writer.close(COLUMNS, rows=2)
    held = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert held == ["000001.csv", "manifest.json"]


def test_a_writer_that_was_replaced_can_neither_add_nor_complete(tmp_path: Path) -> None:
    stale = Spool(tmp_path).begin()
    stale.add(FIRST, rows=2, first_row=1)
    fresh = Spool(tmp_path).begin()
    with pytest.raises(ExportError):
        stale.add(FIRST, rows=2, first_row=3)
    with pytest.raises(ExportError):
        stale.close(COLUMNS, rows=2)
    fresh.add(SECOND, rows=2, first_row=1)
    fresh.close(COLUMNS, rows=2)
    manifest = Spool(tmp_path).manifest()
    assert manifest is not None
    assert Spool(tmp_path).read(manifest.batches[0]) == SECOND


def test_a_complete_spool_is_not_begun_again_until_it_is_discarded(filled: Spool) -> None:
    with pytest.raises(ExportError, match="SPOOL_COMPLETE") as caught:
        filled.begin()
    assert caught.value.kind is FailureKind.INTERNAL
    filled.discard()
    filled.discard()
    assert not filled.directory.exists()
    assert filled.manifest() is None
    filled.begin()


def test_rows_that_are_not_accounted_for_stop_the_spool(tmp_path: Path) -> None:
    made = Spool(tmp_path)
    with made.begin() as writer:
        writer.add(FIRST, rows=2, first_row=1)
        with pytest.raises(ExportError, match="3 rows read, but 2 written and 0 rejected"):
            writer.close(COLUMNS, rows=3)
    assert made.manifest() is None


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_batch_is_never_handed_out(filled: Spool, damage: str) -> None:
    manifest = filled.manifest()
    assert manifest is not None
    path = filled.path(manifest.batches[0])
    if damage == "changed":
        path.write_bytes(FIRST.replace(b"1", b"7"))
    elif damage == "cut":
        path.write_bytes(FIRST[:-1])
    else:
        path.unlink()
    with pytest.raises(ExportError, match="SPOOL_DAMAGED") as caught:
        filled.read(manifest.batches[0])
    assert caught.value.kind is FailureKind.INTERNAL


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "columns": [{}]}'])
def test_a_damaged_manifest_is_an_error_and_not_an_empty_spool(filled: Spool, content: str) -> None:
    (filled.directory / "manifest.json").write_text(content)
    with pytest.raises(ExportError, match="SPOOL_DAMAGED"):
        filled.manifest()


def test_what_is_no_regular_file_is_damage_and_holds_nobody_up(filled: Spool) -> None:
    manifest = filled.manifest()
    assert manifest is not None
    for path, use in (
        (filled.path(manifest.batches[0]), lambda: filled.read(manifest.batches[0])),
        (filled.path(manifest.batches[1]), filled.verify),
        (filled.directory / "manifest.json", filled.manifest),
    ):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(ExportError, match="SPOOL_DAMAGED"):
            use()


def test_effects_are_counted_beside_the_rows(filled: Spool) -> None:
    assert filled.effects == 0
    filled.mark_effect(1)
    filled.mark_effect(2)
    assert filled.effects == 2
    (filled.directory / "sent-from").write_bytes(b"")  # of a version that did not count
    assert filled.effects == 1


def test_damaged_rejected_rows_are_an_error(filled: Spool) -> None:
    next(filled.directory.rglob("rejected.jsonl")).write_text('{"number": 3}\n')
    with pytest.raises(ExportError, match="SPOOL_DAMAGED"):
        list(filled.rejected())


def test_a_full_disk_is_transient_and_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Spool(tmp_path).begin()

    def full(_descriptor: int, _content: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable_files.os, "write", full)
    with pytest.raises(ExportError, match="DISK_FULL") as caught:
        writer.add(FIRST, rows=2, first_row=1)
    assert caught.value.kind is FailureKind.TRANSIENT
    assert str(tmp_path) in caught.value.message


def test_a_disk_that_takes_only_a_part_gets_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_write = os.write
    monkeypatch.setattr(
        durable_files.os, "write", lambda descriptor, content: really_write(descriptor, bytes(content[:7]))
    )
    made = Spool(tmp_path)
    with made.begin() as writer:
        writer.add(FIRST, rows=2, first_row=1)
        manifest = writer.close(COLUMNS, rows=2)
    assert made.read(manifest.batches[0]) == FIRST


def test_a_place_that_cannot_be_a_directory_is_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="DIRECTORY_NOT_WRITABLE") as caught:
        Spool(tmp_path / "file" / "spool").begin()
    assert caught.value.kind is FailureKind.CONFIGURATION


def test_every_file_is_synced_before_the_manifest_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    really_sync, really_rename = os.fsync, Path.rename

    def sync(descriptor: int) -> None:
        steps.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        really_sync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        steps.append(f"rename {path.name}")
        return really_rename(path, target)

    made = Spool(tmp_path)
    with made.begin() as writer:
        monkeypatch.setattr(spool.os, "fsync", sync)
        monkeypatch.setattr(Path, "rename", rename)
        writer.add(FIRST, rows=2, first_row=1)
        writer.reject([REFUSED])
        writer.close(COLUMNS, rows=3)
    filling = next(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert steps == [
        "000001.csv",
        "rejected.jsonl",
        "manifest.json",
        filling,
        "rename manifest.json",
        tmp_path.name,
    ]


def test_row_numbers_skip_the_gaps() -> None:
    batch = SpooledBatch(number=1, file="f", rows=3, bytes=1, sha256="", first_row=8, gaps=(9, 11))
    assert list(batch.row_numbers()) == [8, 10, 12]


@given(st.sets(st.integers(1, 5000), min_size=1, max_size=60).map(sorted))
def test_picked_row_numbers_come_back(numbers: list[int]) -> None:
    batch = SpooledBatch(
        number=1, file="", rows=len(numbers), bytes=0, sha256="", first_row=numbers[0], picked=pick(numbers)
    )
    assert list(batch.row_numbers()) == numbers


def test_picked_rows_take_about_a_bit_each_and_not_more_for_those_between() -> None:
    assert len(pick(range(1, 80_000, 2))) < 200
    assert len(pick([1, 80_000])) < 200


def test_the_values_of_a_batch_have_the_columns_that_were_left_out_of_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    with spool.begin() as writer:
        writer.add(b'"A","C"\n"a",""\n', rows=1, first_row=1, left_out=("B",))
        writer.close([SpooledColumn(name=name, type="string") for name in "ABC"], rows=1)
    manifest = spool.manifest()
    assert manifest is not None
    assert list(spool.values(manifest.batches[0], [1])) == [(1, {"A": "a", "B": None, "C": None})]
    assert list(next(iter(spool.values(manifest.batches[0], [1])))[1]) == ["A", "B", "C"]


def test_a_manifest_of_before_rows_were_picked_is_still_read(filled: Spool) -> None:
    before = filled.manifest()
    file = filled.directory / "manifest.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    for batch in stored["batches"]:
        del batch["picked"], batch["left_out"]
    file.write_text(json.dumps(stored), encoding="utf-8")
    assert filled.manifest() == before


def test_rejected_rows_come_some_at_a_time_by_their_number_and_their_size(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    wide = [
        RejectedRow(number=number, values={"a": "x" * 1_500_000, "b": None}, code="C", message="m")
        for number in range(1, 6)
    ]
    narrow = [RejectedRow(number=number, values={"a": "x"}, code="C", message="m") for number in range(6, 1_600)]
    with spool.begin() as writer:
        writer.reject(wide)
        writer.reject(narrow)
        writer.close([], rows=1_599)
    assert [len(some) for some in spool.rejected_after(0)] == [3, 1_000, 596]
    assert [row.number for some in spool.rejected_after(4) for row in some] == list(range(5, 1_600))
    assert list(spool.rejected_after(1_599)) == []
