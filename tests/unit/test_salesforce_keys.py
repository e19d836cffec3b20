import random
from pathlib import Path

import pytest
from support.exports import make_spool

from exporter.failures import ExportError
from exporter.targets.salesforce import keys
from exporter.targets.salesforce.keys import KeyCheck


def found(
    directory: Path, cells: list[str], *, key: str = "Key", case_sensitive: bool = False
) -> tuple[list[int], list[int]]:
    spool = make_spool(directory, [("x", cell) for cell in cells], names=("Other", key), batch_size=3)
    manifest = spool.manifest()
    assert manifest is not None
    check = KeyCheck(spool, manifest, key.upper(), case_sensitive=case_sensitive)
    return (
        [number for batch in manifest.batches for number in check.empty(batch)],
        [number for batch in manifest.batches for number in check.shared(batch)],
    )


def test_rows_without_and_rows_with_a_shared_key_are_found_across_batches(tmp_path: Path) -> None:
    assert found(tmp_path, ["a", "", "b", "A", "#N/A", "c", "a ", "  "]) == ([2, 5, 8], [1, 4, 7])


def test_case_counts_where_the_field_says_so(tmp_path: Path) -> None:
    assert found(tmp_path, ["a", "A", "a"], case_sensitive=True) == ([], [1, 3])


def test_short_and_long_ids_of_one_record_are_the_same_and_their_case_counts(tmp_path: Path) -> None:
    ids = ["0035g00000AbCdE", "0035g00000AbCdEAAV", "0035g00000aBcDeAAV"]
    assert found(tmp_path, ids, key="Id") == ([], [1, 2])


def test_nothing_is_left_beside_the_spool(tmp_path: Path) -> None:
    found(tmp_path / "s", ["a", "a"])
    assert sorted(path.name for path in (tmp_path / "s").rglob("*") if path.is_file()) == [
        "000001.csv",
        "manifest.json",
    ]


def test_many_keys_in_many_buckets_are_judged_like_a_plain_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_BUCKET_ROWS", 7)
    dice = random.Random(3)
    cells = [f"k{dice.randint(1, 400)}" for _ in range(500)]
    shared = [number for number, cell in enumerate(cells, 1) if cells.count(cell) > 1]
    assert found(tmp_path, cells) == ([], shared)


def test_a_spool_without_the_column_is_our_own_fault(tmp_path: Path) -> None:
    spool = make_spool(tmp_path, [("x", "y")], names=("A", "B"))
    manifest = spool.manifest()
    assert manifest is not None
    with pytest.raises(ExportError, match="KEY_MISSING"):
        KeyCheck(spool, manifest, "C", case_sensitive=False)
