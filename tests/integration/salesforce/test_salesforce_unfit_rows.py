"""Rows that Salesforce would refuse are known before the first effect, in the local Salesforce, on both bulk APIs."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr
from support.runs.cases import names
from support.runs.exports import ListLedger, QuickControl, make_context, make_spool, make_target
from support.salesforce.emulator_org import csv_of, load

from exporter.emulator.bulk import bulk_jobs as jobs
from exporter.emulator.server import Emulator
from exporter.failures import ExportError, FailureKind
from exporter.report import ExportReport
from exporter.spool.spool import Spool

SCHEMA = {
    "objects": {
        "Thing__c": {
            "label": "Thing",
            "fields": {
                "Name": {"type": "string", "length": 20},
                "Ext_Id__c": {"type": "string", "length": 20, "external_id": True, "unique": True},
                "Number__c": {"type": "double", "precision": 18, "scale": 0, "external_id": True, "unique": True},
                "Born__c": {"type": "date"},
                "At__c": {"type": "datetime"},
                "Opens__c": {"type": "time"},
                "Count__c": {"type": "int"},
                "Amount__c": {"type": "currency", "precision": 5, "scale": 2},
                "Share__c": {"type": "percent", "precision": 2, "scale": 2},
                "Mail__c": {"type": "email"},
                "Ok__c": {"type": "boolean"},
                "Kind__c": {"type": "picklist", "values": ["hot", "cold"], "restricted": True},
                "Other__c": {"type": "reference", "reference_to": ["Thing__c"]},
                "Account__c": {"type": "reference", "reference_to": ["Account"]},
                "Any__c": {"type": "reference", "reference_to": ["Account", "Contact"]},
            },
        }
    }
}
TRUNCATE = {"mode": "truncate"}
UPSERT = {"mode": "update", "upsert": True, "key": "Ext_Id__c"}
UNFIT = {
    "Born__c": "6/15/19",
    "At__c": "2026-11-23 03:00:00",
    "Opens__c": "noon",
    "Count__c": "1.0",
    "Amount__c": "1,5",
    "Ok__c": "maybe",
    "Kind__c": "warm",
    "Other__c": "none",
}
DOUBTFUL = [
    ("Born__c", "2026-11-23T00:00:00Z"),
    ("Born__c", "2026-02-30"),
    ("Born__c", " 2026-02-28 "),
    ("At__c", "2024-01-02T03:04:05"),
    ("At__c", "2025-02-29T00:00:00Z"),
    ("At__c", "2025-02-28T00:00:00+99:99"),
    ("At__c", "4000-12-31T23:59:59-05:00"),
    ("Opens__c", "03:00:00.1234Z"),
    ("Amount__c", "1e30"),
    ("Amount__c", "999.995"),
    ("Share__c", "7"),
    ("Mail__c", "nobody"),
    ("Kind__c", "HOT"),
    ("Ok__c", "yes"),
    ("Name", "x" * 21),
]
"""Pairs of a column and a text."""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=SCHEMA) as served:
        rows = [[f"old {number}", f"o{number}"] for number in range(6)]
        load(served.org, "insert", csv_of(["Name", "Ext_Id__c"], *rows), name="Thing__c")
        yield served


def export(
    emulator: Emulator, spool: Spool, ledger: ListLedger, gone: Spool | None = None, unchanged: int = 0, **options: Any
) -> ExportReport:
    max_rejected = options.pop("max_rejected", None)
    connection = {"client_id": "emulator", "client_secret": SecretStr("secret"), "initial_retry_delay": 0}
    target = make_target(
        emulator.url, connection=connection, mirror=gone is not None, **({"object": "Thing__c"} | options)
    )
    context = make_context(
        ledger, control=QuickControl(), gone=gone, unchanged=unchanged, max_rejected=max_rejected
    )  # fmt: skip
    return target.export(spool, context)


def bulk_jobs(emulator: Emulator) -> int:
    with emulator.org.store.reading() as db:
        return sum(len(list(jobs.jobs_of(db, api))) for api in ("1", "2"))


def spool_of(directory: Path, columns: Sequence[str], *rows: Sequence[str], **others: Any) -> Spool:
    return make_spool(directory / "run-1", rows, names=columns, **others)


@pytest.mark.parametrize(("column", "text"), [*UNFIT.items(), *DOUBTFUL])
def test_a_truncate_of_rows_that_cannot_go_in_deletes_nothing(
    emulator: Emulator, tmp_path: Path, column: str, text: str
) -> None:
    columns = ["Ext_Id__c", column, *(["Name"] if column != "Name" else [])]
    rows = [[f"e{number}", text, "n"][: len(columns)] for number in range(5)]
    ledger = ListLedger()
    with pytest.raises(
        ExportError, match=r"all 5 rows for Thing__c would be rejected, so no record is deleted"
    ) as caught:
        export(emulator, spool_of(tmp_path, columns, *rows), ledger, **TRUNCATE)
    assert (caught.value.kind, caught.value.code) == (FailureKind.DATA, "ROWS_DO_NOT_FIT")
    assert column in caught.value.message
    assert text not in caught.value.message
    assert names(emulator) == [f"old {number}" for number in range(6)]
    assert bulk_jobs(emulator) == 0
    sure = column in UNFIT and text == UNFIT[column]
    assert sorted(ledger.rejected) == ([1, 2, 3, 4, 5] if sure else [])


@pytest.mark.parametrize("column", ["Account__c", "Any__c", "Other__c"])
def test_a_truncate_of_links_to_no_such_record_deletes_nothing(emulator: Emulator, tmp_path: Path, column: str) -> None:
    there = [str(record["Id"]) for record in emulator.org.records("Thing__c")]
    spool = spool_of(tmp_path, ["Name", column], *(["n", record] for record in there))
    with pytest.raises(ExportError, match=f"all 6 rows.*INVALID_CROSS_REFERENCE_KEY: {column}: the Id is of a") as told:
        export(emulator, spool, ListLedger(), **TRUNCATE)
    assert told.value.code == "ROWS_DO_NOT_FIT"
    assert len(names(emulator)) == 6


def test_a_truncate_with_links_to_the_right_object_goes_on(emulator: Emulator, tmp_path: Path) -> None:
    load(emulator.org, "insert", csv_of(["Name"], ["a"]), name="Account")
    [account] = [str(record["Id"]) for record in emulator.org.records("Account")]
    spool = spool_of(tmp_path, ["Name", "Account__c", "Any__c"], ["n", account, account[:15]])
    assert export(emulator, spool, ListLedger(), **TRUNCATE).accepted == 1


REPEATED = [[f"E{number % 5}" if number % 2 else f"e{number % 5}", "n"] for number in range(20)]


@pytest.mark.parametrize(("max_rejected", "told"), [("70%", "15 of 20 rows"), (14, "15 of 20 rows"), ("75%", "")])
def test_a_truncate_counts_the_repeats_in_a_unique_field(
    emulator: Emulator, tmp_path: Path, max_rejected: int | str, told: str
) -> None:
    spool = spool_of(tmp_path, ["Ext_Id__c", "Name"], *REPEATED, batch_size=3)
    if told:
        with pytest.raises(ExportError, match=rf"{told}.*DUPLICATE_VALUE: Ext_Id__c: an earlier row.*\(15\)"):
            export(emulator, spool, ListLedger(), max_rejected=max_rejected, **TRUNCATE)
        assert len(names(emulator)) == 6
    else:
        report = export(emulator, spool, ListLedger(), max_rejected=max_rejected, **TRUNCATE)
        assert (report.accepted, report.rejected, report.deleted) == (5, 15, 6)


def test_empty_cells_and_refused_rows_repeat_nothing(emulator: Emulator, tmp_path: Path) -> None:
    rows = [["", "2026-11-23"], ["", "2026-11-23"], ["a", "never"], ["A", "2026-11-23"]]
    spool = spool_of(tmp_path, ["Ext_Id__c", "Born__c"], *rows)
    report = export(emulator, spool, ListLedger(), max_rejected=1, **TRUNCATE)
    assert (report.accepted, report.rejected) == (3, 1)


@pytest.mark.parametrize(("root", "goes"), [("o1", False), (None, True)])
def test_a_truncate_whose_rows_all_name_deleted_parents_deletes_nothing(
    emulator: Emulator, tmp_path: Path, root: str | None, *, goes: bool
) -> None:
    columns = {"Name": ["a", "b"], "Ext_Id__c": ["n1", "n2"], "Other__r.Ext_Id__c": [root, "n1"]}
    spool = Spool(tmp_path / "run-1")
    target = make_target(emulator.url, object="Thing__c")
    target.fill(pa.table(columns).to_reader(), spool, control=QuickControl(), listen=lambda _event: None)
    if goes:
        assert export(emulator, spool, ListLedger(), **TRUNCATE).accepted == 2
        return
    with pytest.raises(ExportError, match=r"all 2 rows.*every row names a parent"):
        export(emulator, spool, ListLedger(), **TRUNCATE)
    assert len(names(emulator)) == 6


PARENTS = {"Name": ["a", "b", "c", "d"], "Account__r.Ext_Id__c": ["here", "gone", None, "GONE"]}


@pytest.mark.parametrize(
    ("rows", "max_rejected", "told"),
    [
        ([1, 3], None, "all 2 rows for Thing__c would be rejected, so no record is deleted"),
        ([1], None, "the only row for Thing__c would be rejected"),
        ([0, 1, 2, 3], 1, "2 of 4 rows for Thing__c would be rejected (max_rejected = 1)"),
        ([0, 1, 2, 3], None, ""),
        ([0, 2], 0, ""),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_a_truncate_of_rows_whose_parents_are_not_there_deletes_nothing(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator,
    tmp_path: Path,
    rows: list[int],
    max_rejected: int | None,
    told: str,
    many: bool,  # noqa: FBT001
) -> None:
    others = [[f"x{number}", f"x{number}"] for number in range(500 if many else 0)]
    load(emulator.org, "insert", csv_of(["Name", "Ext_Id__c"], ["a", "Here"], *others), name="Account")
    columns = {name: [values[row] for row in rows] for name, values in PARENTS.items()}
    spool = Spool(tmp_path / "run-1")
    make_target(emulator.url, object="Thing__c").fill(
        pa.table(columns).to_reader(), spool, control=QuickControl(), listen=lambda _event: None
    )
    if not told:
        report = export(emulator, spool, ListLedger(), max_rejected=max_rejected, **TRUNCATE)
        assert (report.deleted, report.rejected) == (6, 2 if 1 in rows else 0)
        return
    with pytest.raises(ExportError, match=re.escape(told)) as caught:
        export(emulator, spool, ListLedger(), max_rejected=max_rejected, **TRUNCATE)
    assert "Account__r.Ext_Id__c: no Account has this Ext_Id__c" in caught.value.message
    assert "gone" not in caught.value.message.lower().replace("goes", "")
    assert len(names(emulator)) == 6


@pytest.mark.parametrize(
    ("max_rejected", "told"),
    [(None, ""), (2, ""), ("40%", ""), (1, "2 of 5 rows"), ("39%", "2 of 5 rows"), (0, "2 of 5 rows")],
)
def test_a_truncate_beyond_max_rejected_deletes_nothing(
    emulator: Emulator, tmp_path: Path, max_rejected: int | str | None, told: str
) -> None:
    rows = [("a", "2026-11-23"), ("b", "never"), ("c", ""), ("d", "2026-11-23T00:00:00Z"), ("e", "2026-11-24")]
    spool, ledger = spool_of(tmp_path, ["Name", "Born__c"], *rows), ListLedger()
    if told:
        with pytest.raises(ExportError, match=told) as caught:
            export(emulator, spool, ledger, max_rejected=max_rejected, **TRUNCATE)
        assert caught.value.code == "TOO_MANY_REJECTED"
        assert len(names(emulator)) == 6
    else:
        report = export(emulator, spool, ledger, max_rejected=max_rejected, **TRUNCATE)
        assert (report.accepted, report.rejected, report.deleted) == (3, 2, 6)
        assert names(emulator) == ["a", "c", "e"]


@pytest.mark.parametrize("bulk_api", ["1", "2"])
def test_an_append_sends_all_but_the_rows_that_cannot_go_in(emulator: Emulator, tmp_path: Path, bulk_api: str) -> None:
    columns = ["Name", *UNFIT]
    bad = [["bad", *("" if name != column else text for name in UNFIT)] for column, text in UNFIT.items()]
    fine = ["fine", "2026-11-23", "2026-11-23T03:00:00Z", "03:00:00.000Z", "1", "1.5", "true", "hot", ""]
    spool, ledger = (
        spool_of(
            tmp_path,
            columns,
            fine,
            *bad,
            ["empty", *[""] * 8],
            ["null", *("" if name == "Ok__c" else "#N/A" for name in UNFIT)],
        ),
        ListLedger(),
    )
    report = export(emulator, spool, ledger, bulk_api=bulk_api)
    assert (report.read, report.accepted, report.rejected) == (11, 3, 8)
    assert names(emulator)[:3] == ["empty", "fine", "null"]
    codes = [ledger.rejected[number].code for number in range(2, 10)]
    assert codes == [*["INVALID_FIELD"] * 6, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "MALFORMED_ID"]
    assert ledger.rejected[2].values["Born__c"] == "6/15/19"
    assert not [row.message for row in ledger.rejected.values() if any(text in row.message for text in UNFIT.values())]
    again = export(emulator, spool, ledger, bulk_api=bulk_api)
    assert again == report
    assert names(emulator).count("fine") == 1


def test_doubtful_rows_are_sent_and_salesforce_decides(emulator: Emulator, tmp_path: Path) -> None:
    spool, ledger = spool_of(tmp_path, ["Name", "Ext_Id__c"], ["x" * 21, "e1"], ["fine", "e2"]), ListLedger()
    report = export(emulator, spool, ledger)
    assert (report.accepted, report.rejected) == (1, 1)
    assert "data value too large: xxx" in ledger.rejected[1].message  # Salesforce's own words


def test_rows_without_a_parent_are_checked_without_its_column(emulator: Emulator, tmp_path: Path) -> None:
    load(emulator.org, "insert", csv_of(["Name", "Number__c"], ["seven", "7"]), name="Thing__c")
    columns = {"Name": ["child", "root", "bad"], "Born__c": ["", "x", ""], "Other__r.Number__c": ["7", None, "seven"]}
    spool, ledger = Spool(tmp_path / "run-1"), ListLedger()
    target = make_target(emulator.url, object="Thing__c")
    target.fill(pa.table(columns).to_reader(), spool, control=QuickControl(), listen=lambda _event: None)
    report = export(emulator, spool, ledger)
    assert (report.accepted, {number: row.code for number, row in ledger.rejected.items()}) == (
        1,
        {2: "INVALID_FIELD", 3: "INVALID_FIELD"},
    )
    assert "Other__r.Number__c: the text is not a valid value for the type xsd:double" in ledger.rejected[3].message


def test_a_number_is_one_key_however_it_is_written(emulator: Emulator, tmp_path: Path) -> None:
    load(emulator.org, "insert", csv_of(["Name", "Number__c"], ["seven", "7"]), name="Thing__c")
    rows = [["1", "a"], ["01", "b"], ["1.0", "c"], ["7.0", "seven again"], ["8", "eight"]]
    spool, ledger = spool_of(tmp_path, ["Number__c", "Name"], *rows), ListLedger()
    report = export(emulator, spool, ledger, mode="update", upsert=True, key="Number__c")
    assert (report.accepted, sorted(ledger.rejected)) == (2, [1, 2, 3])
    assert [name for name in names(emulator) if not name.startswith("old")] == ["eight", "seven again"]


def test_letters_that_are_alike_in_full_case_folding_only_are_two_keys(emulator: Emulator, tmp_path: Path) -> None:
    cells = ["straße", "strasse", "STRASSE", "fix", "\ufb01x", "Élan"]
    load(emulator.org, "insert", csv_of(["Name", "Ext_Id__c"], ["before", "éLAN"]), name="Thing__c")
    spool, ledger = spool_of(tmp_path, ["Ext_Id__c", "Name"], *([cell, cell] for cell in cells)), ListLedger()
    report = export(emulator, spool, ledger, **UPSERT)
    assert (report.accepted, sorted(ledger.rejected)) == (4, [2, 3])
    assert [name for name in names(emulator) if not name.startswith("old")] == sorted(
        ["straße", "fix", "\ufb01x", "Élan"]
    )


def test_a_lookup_as_key_tells_ids_by_their_case_and_not_by_their_length(emulator: Emulator, tmp_path: Path) -> None:
    ids = [str(record["Id"]) for record in emulator.org.records("Thing__c")]
    load(emulator.org, "insert", csv_of(["Name", "Other__c"], ["child", ids[0]]), name="Thing__c")
    rows = [[ids[0][:15], "short"], [ids[0][:15].swapcase(), "another"]]
    spool, ledger = spool_of(tmp_path, ["Other__c", "Name"], *rows), ListLedger()
    report = export(emulator, spool, ledger, mode="update", key="Other__c")
    assert (report.accepted, ledger.rejected[2].code) == (1, "ENTITY_NOT_FOUND")
    twice = spool_of(tmp_path / "twice", ["Other__c", "Name"], [ids[0][:15], "a"], [ids[0], "b"])
    found = ListLedger()
    assert export(emulator, twice, found, mode="update", key="Other__c").rejected == 2
    assert {row.code for row in found.rejected.values()} == {"DUPLICATE_VALUE"}


def gone_keys(directory: Path) -> Spool:
    return make_spool(directory / "gone", [["o1"], ["o2"]], names=["Ext_Id__c"])


def test_a_mirror_whose_rows_cannot_go_in_sends_and_deletes_nothing(emulator: Emulator, tmp_path: Path) -> None:
    spool = spool_of(tmp_path, ["Ext_Id__c", "Born__c"], ["o3", "x"], ["o4", "y"])
    with pytest.raises(ExportError, match=r"all 2 rows.*would be rejected") as caught:
        export(emulator, spool, ListLedger(), gone_keys(tmp_path), **UPSERT)
    assert caught.value.code == "ROWS_DO_NOT_FIT"
    assert len(names(emulator)) == 6


def test_a_mirror_deletes_what_left_where_other_rows_did_not_change(emulator: Emulator, tmp_path: Path) -> None:
    spool = spool_of(tmp_path, ["Ext_Id__c", "Born__c"], ["o3", "x"])
    report = export(emulator, spool, ListLedger(), gone_keys(tmp_path), unchanged=9, **UPSERT)
    assert (report.rejected, report.deleted, report.undeleted) == (1, 2, 0)


def test_a_mirror_whose_rows_salesforce_refuses_deletes_nothing(emulator: Emulator, tmp_path: Path) -> None:
    spool, ledger = (
        spool_of(tmp_path, ["Ext_Id__c", "Name"], ["o3", "fine"], ["o4", "x" * 21], ["o5", "ok"]),
        ListLedger(),
    )
    gone = gone_keys(tmp_path)
    report = export(emulator, spool, ledger, gone, max_rejected=0 + 1, **UPSERT)
    assert (report.rejected, report.deleted) == (1, 2)
    load(emulator.org, "insert", csv_of(["Name", "Ext_Id__c"], ["old 1", "o1"]), name="Thing__c")
    nobody = "001000000000001"
    late = spool_of(tmp_path / "late", ["Ext_Id__c", "Account__c"], ["o3", nobody], ["o4", ""], ["o5", ""])
    report = export(emulator, late, ListLedger(), gone, max_rejected=0, **UPSERT)
    assert (report.rejected, report.deleted, report.undeleted) == (1, 0, 2)
    assert "old 1" in names(emulator)


def test_the_ids_that_a_mirror_deletes_stay_beside_the_spool(emulator: Emulator, tmp_path: Path) -> None:
    ids = {str(record["Id"]) for record in emulator.org.records("Thing__c") if record["Ext_Id__c"] in {"o1", "o2"}}
    spool = spool_of(tmp_path, ["Ext_Id__c", "Name"], ["o3", "fine"])
    assert export(emulator, spool, ListLedger(), gone_keys(tmp_path), **UPSERT).deleted == 2
    kept = Spool(tmp_path / "run-1-deleted")
    manifest = kept.manifest()
    assert manifest is not None
    assert {line.strip('"') for line in kept.read(manifest.batches[0]).decode().split()} == ids | {"Id"}
