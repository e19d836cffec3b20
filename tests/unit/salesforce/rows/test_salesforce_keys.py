import random
from pathlib import Path

import pytest
from support.runs.exports import make_spool
from support.salesforce.fields import make_field

from exporter.failures import ExportError
from exporter.rows.key_forms import Form
from exporter.targets.salesforce.fields import Field
from exporter.targets.salesforce.preparation import key_check
from exporter.targets.salesforce.preparation.key_check import KeyCheck, key_form


def found(directory: Path, cells: list[str], *, key: str = "Key", form: Form = "folded") -> tuple[list[int], list[int]]:
    spool = make_spool(directory, [("x", cell) for cell in cells], names=("Other", key), batch_size=3)
    manifest = spool.manifest()
    assert manifest is not None
    check = KeyCheck(spool, manifest, key.upper(), form=form)
    return (
        [number for batch in manifest.batches for number in check.empty(batch)],
        [number for batch in manifest.batches for number in check.shared(batch)],
    )


def test_rows_without_and_rows_with_a_shared_key_are_found_across_batches(tmp_path: Path) -> None:
    assert found(tmp_path, ["a", "", "b", "A", "#N/A", "c", "a ", "  "]) == ([2, 5, 8], [1, 4, 7])


def test_of_rows_that_share_a_key_all_but_the_first_repeat_it_and_refused_ones_do_not_count(tmp_path: Path) -> None:
    spool = make_spool(tmp_path, [(cell,) for cell in ["a", "b", "A", "b", "", "", "a"]], names=("Key",), batch_size=3)
    manifest = spool.manifest()
    assert manifest is not None

    def repeated(refused: dict[int, str]) -> list[int]:
        check = KeyCheck(spool, manifest, "Key", form="folded", refused=refused)
        return [number for batch in manifest.batches for number in check.repeated(batch)]

    first, *_ = manifest.batches
    assert repeated({}) == [3, 4, 7]
    assert repeated({first.number: "1-2"}) == [7]


def test_case_counts_where_the_field_says_so(tmp_path: Path) -> None:
    assert found(tmp_path, ["a", "A", "a"], form="cased") == ([], [1, 3])


def test_short_and_long_ids_of_one_record_are_the_same_and_their_case_counts(tmp_path: Path) -> None:
    ids = ["0035g00000AbCdE", "0035g00000AbCdEAAV", "0035g00000aBcDeAAK", "0035g00000abcdeaav"]
    assert found(tmp_path, ids, key="Id", form="id") == ([], [1, 2, 4])


def test_what_only_full_case_folding_takes_for_one_is_two_keys(tmp_path: Path) -> None:
    cells = ["straße", "strasse", "fix", "\ufb01x", "STRAßE", "ÉLAN", "élan", "elan"]
    assert found(tmp_path, cells) == ([], [1, 5, 6, 7])


def test_numbers_are_one_key_however_they_are_written(tmp_path: Path) -> None:
    cells = ["1", "01", "1.0", "1e0", "10", "-0", "0", "2", "#N/A"]
    assert found(tmp_path, cells, form="number") == ([9], [1, 2, 3, 4, 6, 7])


def test_instants_are_one_key_in_every_zone(tmp_path: Path) -> None:
    cells = ["2026-11-23T03:00:00.000Z", "2026-11-23T04:00:00+01:00", "2026-11-23T03:00:00Z", "2026-11-23T03:00:01Z"]
    assert found(tmp_path, cells, form="datetime") == ([], [1, 2, 3])


def field(kind: str, *, name: str = "Key__c", unique: bool | None = True, case_sensitive: bool = False) -> Field:
    return make_field(name=name, type=kind, unique=unique, case_sensitive=case_sensitive, is_key=True)


@pytest.mark.parametrize(
    ("key", "upsert", "form"),
    [
        (field("string"), True, "folded"),
        (field("string", case_sensitive=True), True, "cased"),
        (field("string", unique=False), True, "cased"),
        (field("string", unique=False), False, "folded"),
        (field("string", unique=None), True, "folded"),
        (field("string", name="Name", unique=False), True, "folded"),
        (field("email", unique=False), True, "folded"),
        (field("double"), True, "number"),
        (field("id", name="Id"), False, "id"),
        (field("reference", name="AccountId"), False, "id"),
        (field("date"), False, "date"),
        (field("datetime"), False, "datetime"),
    ],
)
def test_a_key_is_compared_by_the_type_of_its_field(key: Field, upsert: bool, form: Form) -> None:  # noqa: FBT001 - a parameter
    assert key_form(key, upsert=upsert) == form


def test_nothing_is_left_beside_the_spool(tmp_path: Path) -> None:
    found(tmp_path / "s", ["a", "a"])
    assert sorted(path.name for path in (tmp_path / "s").rglob("*") if path.is_file()) == [
        "000001.csv",
        "manifest.json",
    ]


def test_many_keys_in_many_buckets_are_judged_like_a_plain_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_check, "_BUCKET_ROWS", 7)
    dice = random.Random(3)
    cells = [f"k{dice.randint(1, 400)}" for _ in range(500)]
    shared = [number for number, cell in enumerate(cells, 1) if cells.count(cell) > 1]
    assert found(tmp_path, cells) == ([], shared)


def test_a_spool_without_the_column_is_our_own_fault(tmp_path: Path) -> None:
    spool = make_spool(tmp_path, [("x", "y")], names=("A", "B"))
    manifest = spool.manifest()
    assert manifest is not None
    with pytest.raises(ExportError, match="KEY_MISSING"):
        KeyCheck(spool, manifest, "C", form="folded")
