from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.runs.exports import QuickControl

from exporter.changes import parts
from exporter.changes.parts import clustered_writer
from exporter.changes.rules import ChangeCounts, ChangeRules, Fate, Mode, check_deletions
from exporter.changes.snapshot import Ending, Snapshot, write_snapshot
from exporter.changes.staging import SNAPSHOT, Staging
from exporter.failures import ExportError, FailureKind
from exporter.rows.casts import TextCast, TextRules, salesforce_rules
from exporter.rows.key_forms import Form

COLUMNS = ("Ext_Id__c", "Name", "Sent_At__c")


class History:
    """The runs of one job, each with its staging, and the snapshot that they hand on."""

    def __init__(self, directory: Path, *, mode: Mode = "changed", form: Form = "folded", **rules: Any) -> None:
        self.rules = ChangeRules(mode=mode, key=rules.pop("key", ("Ext_Id__c",)), form=form, **rules)
        self.snapshot: Snapshot | None = None
        self._directory = directory
        self._runs = 0

    def stage(
        self, rows: Iterable[tuple[Any, ...]], *, resend: bool = False, names: tuple[str, ...] = COLUMNS
    ) -> Staging:
        self._runs += 1
        table = pa.table({name: list(cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)})
        return self.stage_table(table, resend=resend)

    def stage_table(self, table: pa.Table, *, resend: bool = False, text: TextRules | None = None) -> Staging:
        staging = Staging(self._directory / f"run-{self._runs}")
        cast = TextCast(table.schema, text or salesforce_rules())
        staging.fill(table.to_reader(2), cast, self.rules, control=QuickControl())
        self.counts = staging.compare(self.snapshot.file if self.snapshot else None, self.rules, resend=resend)
        self.sent = [row["Ext_Id__c"] for row in staging.selected().read_all().to_pylist()]
        return staging

    def settle(self, staging: Staging, fates: Mapping[str, Fate] | None = None, **ending: Any) -> dict[str, bool]:
        """Write the next snapshot; return, by the text of its keys, whether a row that stays as it is stays unsent."""
        known = bytearray([0] + [(fates or {}).get(key, Fate.ACCEPTED) for key in self.sent])
        values = {"fates": known, "complete": True, "inserts": False} | ending
        before = self.snapshot.file if self.snapshot else None
        self.snapshot = write_snapshot(self._directory / "snapshots", "job", staging, before, Ending(**values))
        return {row["text"]: bool(row["digest"]) for row in pq.read_table(self.snapshot.file).to_pylist()}

    def run(self, rows: Iterable[tuple[Any, ...]], fates: Mapping[str, Fate] | None = None, **ending: Any) -> list[str]:
        """Stage and settle; return the keys that were sent."""
        self.settle(self.stage(rows), fates, **ending)
        return self.sent


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


A, B, C = ("a", "Ann", "1"), ("b", "Bob", "1"), ("c", "Cy", "1")


def test_only_new_and_changed_rows_are_sent_in_their_order(history: History) -> None:
    assert history.run([C, A, B]) == ["c", "a", "b"]
    assert history.counts == ChangeCounts(new=3)
    assert history.run([("d", "Di", "1"), B, ("a", "Anna", "1")]) == ["d", "a"]
    assert history.counts == ChangeCounts(new=1, changed=1, unchanged=1, gone=1, known=3)
    assert history.run([("d", "Di", "1"), B, ("a", "Anna", "1")]) == []


def test_a_key_that_left_the_result_and_comes_back_is_sent_again(tmp_path: Path) -> None:
    history = History(tmp_path, mode="new")
    assert history.run([A, B]) == ["a", "b"]
    assert history.run([("a", "Anna", "1"), B]) == []
    assert history.run([B]) == []
    assert history.run([A, B]) == ["a"]


def test_what_was_refused_or_not_sent_is_tried_again_and_what_it_was_before_is_not_forgotten(history: History) -> None:
    history.run([A, B], {"b": Fate.UNSENT})
    assert history.run([A, B]) == ["b"]
    changed = ("b", "Bo", "1")
    assert history.run([A, changed], {"b": Fate.UNSENT}) == ["b"]
    assert history.run([A, B]) == []
    assert history.run([A, changed]) == ["b"]


def test_a_run_that_did_not_complete_adds_what_was_accepted_and_drops_nothing(history: History) -> None:
    history.run([A, B])
    assert history.run([("d", "Di", "1"), ("e", "Ed", "1")], {"e": Fate.UNSENT}, complete=False) == ["d", "e"]
    assert history.run([A, B, ("d", "Di", "1"), ("e", "Ed", "1")]) == ["e"]


def test_a_row_of_unknown_fate_is_sent_again_where_that_does_no_harm(history: History) -> None:
    history.run([A, B])
    history.run([("a", "Anna", "1"), B], {"a": Fate.UNKNOWN}, complete=False)
    assert history.snapshot is not None
    assert history.snapshot.doubtful == 0
    assert history.run([A, B]) == ["a"]


def test_an_inserted_row_of_unknown_fate_stays_in_doubt_until_a_person_decides(tmp_path: Path) -> None:
    history = History(tmp_path, mode="new")
    history.run([A, B], {"b": Fate.UNKNOWN}, complete=False, inserts=True)
    assert history.snapshot is not None
    assert (history.snapshot.rows, history.snapshot.doubtful) == (2, 1)
    staging = history.stage([A, B])
    assert staging.compare(history.snapshot.file, history.rules, doubts_arrived=True).new == 0
    assert staging.compare(history.snapshot.file, history.rules, doubts_arrived=False).new == 1


def test_a_resend_sends_every_row_and_what_it_did_not_get_through_is_still_to_be_sent(history: History) -> None:
    history.run([A, B])
    staging = history.stage([A, B, C], resend=True)
    assert history.sent == ["a", "b", "c"]
    kept = history.settle(staging, {"b": Fate.UNSENT}, complete=False, resend=True)
    assert kept == {"a": True, "b": False, "c": True}
    assert history.run([A, B, C]) == ["b"]


def test_rows_that_share_a_key_are_always_sent_so_that_the_target_can_refuse_them(history: History) -> None:
    history.run([A, B])
    twice = [A, ("A ", "Another", "1"), B]
    assert history.run(twice, {"a": Fate.UNSENT, "A ": Fate.UNSENT}) == ["a", "A "]
    assert history.run(twice, {"a": Fate.UNSENT, "A ": Fate.UNSENT}) == ["a", "A "]
    assert history.run([A, B]) == []


def test_rows_without_a_key_are_always_sent_so_that_the_target_can_refuse_them(history: History) -> None:
    rows = [(None, "No one", "1"), (" ", "Nobody", "1"), A]
    unsent = {"": Fate.UNSENT}
    assert history.run(rows, {None: Fate.UNSENT, " ": Fate.UNSENT} | unsent) == [None, " ", "a"]  # type: ignore[dict-item,comparison-overlap]
    assert history.run(rows, {None: Fate.UNSENT, " ": Fate.UNSENT} | unsent) == [None, " "]  # type: ignore[dict-item,comparison-overlap]


def test_a_result_whose_own_key_tells_no_row_from_another_is_not_exported(tmp_path: Path) -> None:
    history = History(tmp_path, mode="new", form="exact")
    for rows in ([A, A, B], [A, ("", "Nobody", "1")]):
        with pytest.raises(ExportError, match="CHANGES_KEY_NOT_UNIQUE") as caught:
            history.stage(rows)
        assert caught.value.kind is FailureKind.DATA
    with pytest.raises(ExportError, match=r"CHANGES_KEY_MISSING.*Ext_Id__c"):
        history.stage([("a",)], names=("ext_id__c",))


def test_several_columns_make_a_key_whatever_stands_in_them(tmp_path: Path) -> None:
    history = History(tmp_path, mode="new", form="exact", key=("Ext_Id__c", "Name"))
    rows = [("a:", "b", "1"), ("a", ":b", "1"), ("1:a", "", "1"), ("", "1:a", "1"), ('"', "\n", "1")]
    assert len(history.run(rows)) == 5
    assert history.run(rows) == []


def test_ids_are_the_same_in_both_of_their_lengths_and_their_case_counts(tmp_path: Path) -> None:
    history = History(tmp_path, form="id")
    short, long, other = "001A0000000aBcD", "001A0000000aBcDXYZ", "001A0000000abcd"
    history.run([(short, "Ann", "1"), (other, "Bob", "1")])
    assert history.run([(short, "Ann", "1"), (other, "Bob", "1")]) == []
    assert history.run([(long, "Ann", "1")]) == [long]
    assert history.counts.changed == 1


def test_columns_that_only_say_when_a_row_goes_out_make_no_change(tmp_path: Path) -> None:
    history = History(tmp_path, passing=frozenset({"Sent_At__c"}))
    history.run([A])
    assert history.run([("a", "Ann", "2")]) == []
    assert history.run([("a", "Anna", "3")]) == ["a"]


def test_a_column_that_comes_to_the_result_or_has_another_name_changes_every_row(history: History) -> None:
    history.run([A, B])
    history.settle(history.stage([A, B], names=("Ext_Id__c", "LastName", "Sent_At__c")))
    assert history.sent == ["a", "b"]
    assert history.counts.changed == 2


def test_the_text_that_is_sent_decides_and_not_the_type_that_it_was_made_of(history: History) -> None:
    first = pa.table({"Ext_Id__c": ["a"], "Name": pa.array([1.5], pa.float64()), "Sent_At__c": ["1"]})
    history.settle(history.stage_table(first))
    history._runs += 1
    again = pa.table({"Ext_Id__c": ["a"], "Name": ["1.5"], "Sent_At__c": ["1"]})
    history.stage_table(again)
    assert history.sent == []
    history._runs += 1
    nulls = pa.table({"Ext_Id__c": ["a"], "Name": pa.array([None], pa.string()), "Sent_At__c": ["1"]})
    history.settle(history.stage_table(nulls))
    history._runs += 1
    history.stage_table(nulls, text=salesforce_rules(nulls="clear"))
    assert history.sent == ["a"]


def test_a_row_without_a_faithful_text_goes_to_the_target_and_is_not_gone(history: History) -> None:
    table = pa.table({"Ext_Id__c": ["a", "b"], "Name": [1.0, 2.0], "Sent_At__c": ["1", "1"]})
    history.settle(history.stage_table(table))
    history._runs += 1
    broken = table.set_column(1, "Name", [[float("nan"), 2.0]])
    history.settle(history.stage_table(broken), {"a": Fate.UNSENT})
    assert (history.sent, history.counts.gone) == (["a"], 0)
    history._runs += 1
    history.stage_table(table)
    assert history.sent == []


def test_a_mirror_lists_what_left_and_keeps_what_could_not_be_deleted(tmp_path: Path) -> None:
    history = History(tmp_path, mode="mirror")
    history.run([A, B, C])
    staging = history.stage([B])
    gone = staging.gone.manifest()
    assert gone is not None
    texts = [values["Ext_Id__c"] for _, values in staging.gone.values(gone.batches[0], range(1, 3))]
    assert sorted(map(str, texts)) == ["a", "c"]
    assert history.settle(staging, kept=[(texts.index("c") + 1, texts.index("c") + 1)]) == {"b": True, "c": False}
    assert history.stage([B]).gone.manifest().rows == 1  # type: ignore[union-attr]


def test_a_row_comes_back_whose_record_may_have_been_deleted_so_it_is_sent_again(tmp_path: Path) -> None:
    history = History(tmp_path, mode="mirror")
    history.run([A, B])
    history.run([B], kept=[(1, 1)])
    assert history.run([A, B]) == ["a"]


def test_a_result_without_rows_is_compared_too(history: History) -> None:
    history.run([A, B])
    empty = pa.table({name: pa.array([], pa.string()) for name in COLUMNS})
    history._runs += 1
    assert history.settle(history.stage_table(empty)) == {}
    assert history.counts == ChangeCounts(gone=2, known=2)
    assert history.run([A, B]) == ["a", "b"]


@pytest.mark.parametrize(("gone", "known", "allowed"), [(0, 0, 0), (5, 100, 5), (5, 100, "5%"), (0, 0, "0%")])
def test_a_mirror_deletes_what_it_may(gone: int, known: int, allowed: int | str) -> None:
    check_deletions(ChangeCounts(gone=gone, known=known), allowed)


@pytest.mark.parametrize(("gone", "known", "allowed"), [(1, 1, 0), (6, 100, 5), (6, 100, "5%"), (1, 1, "99.5%")])
def test_a_mirror_deletes_no_more_than_it_may(gone: int, known: int, allowed: int | str) -> None:
    with pytest.raises(ExportError, match="TOO_MANY_GONE") as caught:
        check_deletions(ChangeCounts(gone=gone, known=known), allowed)
    assert caught.value.kind is FailureKind.DATA


def test_snapshots_and_digests_are_for_their_owner_alone_and_nothing_unfinished_is_left(history: History) -> None:
    history.run([A, B])
    assert history.snapshot is not None
    assert history.snapshot.file.stat().st_mode & 0o077 == 0
    assert [path.name for path in history.snapshot.file.parent.iterdir()] == [history.snapshot.file.name]


def unmark(file: Path) -> None:
    """Make a snapshot what it was before snapshots said in which form their keys are."""
    old = file.with_suffix(".old")
    with pq.ParquetFile(file) as marked, clustered_writer(old, SNAPSHOT) as writer:
        for group in range(marked.num_row_groups):
            writer.write_table(marked.read_row_group(group).cast(SNAPSHOT))
    old.rename(file)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ("number", ["1", "02", "3.0", "x"]),
        ("cased", ["a", "B", "C d", "É"]),
        ("id", ["0035g00000AbCdE", "0035g00000XyZaB"]),
        ("datetime", ["2026-11-23T03:00:00.000Z", "2026-11-23T03:00:00+01:00"]),
        ("folded", ["a", "B"]),
    ],
)
def test_a_snapshot_whose_keys_were_told_apart_otherwise_goes_on_to_be_used(
    tmp_path: Path, form: Form, keys: list[str], *, marked: bool
) -> None:
    history = History(tmp_path, mode="mirror")
    rows = [(key, "Ann", "1") for key in keys]
    history.run(rows)
    assert history.snapshot is not None
    if not marked:
        unmark(history.snapshot.file)
    history.rules = replace(history.rules, form=form)
    for _ in range(2):
        assert history.run(rows) == []
        assert history.counts == ChangeCounts(unchanged=len(keys), known=len(keys))


def test_keys_that_have_become_one_are_sent_again_and_none_of_them_is_gone(tmp_path: Path) -> None:
    history = History(tmp_path, mode="mirror")
    history.run([("1", "Ann", "1"), ("1.0", "Ann", "1"), ("2", "Bob", "1")])
    history.rules = replace(history.rules, form="number")
    assert history.run([("1", "Ann", "1"), ("2", "Bob", "1")]) == ["1"]
    assert history.counts == ChangeCounts(changed=1, unchanged=1, known=2)


def test_one_number_in_another_writing_is_the_same_key_and_another_row(tmp_path: Path) -> None:
    history = History(tmp_path, mode="mirror", form="number")
    history.run([("1", "Ann", "1"), ("2", "Bob", "1")])
    assert history.run([("1.0", "Ann", "1"), ("2", "Bob", "1")]) == ["1.0"]
    assert history.counts == ChangeCounts(changed=1, unchanged=1, known=2)


def test_a_large_snapshot_is_made_anew_in_all_of_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS_AT_ONCE", 50)
    history = History(tmp_path, mode="mirror")
    rows = [(f"{number:05d}", "Ann", "1") for number in range(1, 301)]
    history.run(rows)
    history.rules = replace(history.rules, form="number")
    assert history.run(rows) == []
    assert history.counts == ChangeCounts(unchanged=300, known=300)


def test_a_snapshot_that_a_kill_left_half_made_anew_is_made_once_more(tmp_path: Path) -> None:
    history = History(tmp_path, mode="mirror")
    rows = [("1", "Ann", "1"), ("02", "Bob", "1")]
    history.run(rows)
    history.rules = replace(history.rules, form="number")
    staging = tmp_path / "run-2"
    (staging / "snapshot-buckets").mkdir(parents=True)
    (staging / "snapshot.partial").write_bytes(b"half")
    assert history.run(rows) == []
    assert history.counts == ChangeCounts(unchanged=2, known=2)
