from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.exports import ListLedger, make_context, make_spool, make_target
from support.small_org import SmallOrg, small_org

from exporter.events import Event, Warned
from exporter.failures import ExportError, FailureKind

UPSERT = {"mode": "update", "upsert": True, "key": "Ext_Id__c"}


@pytest.fixture
def org() -> Iterator[SmallOrg]:
    with small_org() as served:
        yield served


def faults(org: SmallOrg, columns: list[Any], **options: Any) -> str:
    """Return what a check says of columns (a name, or name and Arrow type), empty if all is well."""
    fields = [(column, pa.string()) if isinstance(column, str) else column for column in columns]
    target = make_target(org.url, **options)
    try:
        target.check(pa.schema(fields))
    except ExportError as error:
        return error.message if error.kind is FailureKind.CONFIGURATION else f"{error.kind}!"
    return ""


def test_columns_that_fit_pass_in_any_case_and_nothing_is_written(org: SmallOrg) -> None:
    assert faults(org, ["lastname", "EMAIL", "ext_id__c"]) == ""
    assert faults(org, ["LastName", "ext_id__C"], **UPSERT) == ""
    assert faults(org, ["Id", "Email"], mode="update", key="id") == ""
    assert org.jobs == {}


def test_an_unknown_object_is_told_with_the_nearest_names(org: SmallOrg) -> None:
    with pytest.raises(ExportError, match=r"no object Contct.*nearest: Contact") as caught:
        make_target(org.url, object="Contct").check()
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "UNKNOWN_OBJECT")


def test_every_bad_column_is_told_at_once(org: SmallOrg) -> None:
    told = faults(org, ["LastNam", "Emial", "CreatedDate", "Email", "email", "Nothing_like_it__c"])
    assert "no field LastNam (nearest: LastName)" in told
    assert "no field Emial (nearest: Email)" in told
    assert "CreatedDate cannot be set on new records" in told
    assert "column email goes out twice" in told
    assert "no field Nothing_like_it__c" in told
    assert "required, but not among the columns: LastName" in told


def test_what_may_be_written_depends_on_the_operation(org: SmallOrg) -> None:
    assert faults(org, ["LastName", "Source__c"]) == ""
    assert "Source__c cannot be changed" in faults(org, ["Id", "Source__c"], mode="update", key="Id")
    assert "Id cannot be set on new records" in faults(org, ["LastName", "Id"])
    assert "Id cannot be written" in faults(org, ["LastName", "Id", "Ext_Id__c"], **UPSERT)


def test_the_key_has_to_be_an_external_id_that_is_among_the_columns(org: SmallOrg) -> None:
    told = faults(org, ["LastName"], mode="update", upsert=True, key="Email")
    assert "key Email is no external id (external ids: Ext_Id__c, Case_Id__c)" in told
    assert "the key Email is not among the columns" in told
    told = faults(org, ["LastName"], mode="update", upsert=True, key="ExtId__c")
    assert "no field ExtId__c to go by as key (nearest: Ext_Id__c" in told
    assert "the key Id is not among the columns" in faults(org, ["LastName"], mode="update", key="Id")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("Account.Ext__c", ""),
        ("account.ext__C", ""),
        ("User:Owner.Email", ""),
        ("Account.Name", "Name is no external id of Account (those: Ext__c)"),
        ("Account.Ext_c", "Account has no field Ext_c (nearest: Ext__c)"),
        ("Acount.Ext__c", "no relationship Acount (nearest: Account)"),
        ("Account:Account.Ext__c", "leads to Account only: leave out Account:"),
        ("Owner.Email", "may lead to User or Group: write User:Owner.Email"),
        ("Usr:Owner.Email", "cannot lead to Usr (nearest: User)"),
        ("Group:Owner.Name", "the user may not see Group"),
        ("Account.Parent.Ext__c", "is no path to a parent"),
        ("Account.", "is no path to a parent"),
    ],
)
def test_paths_to_parents_are_followed(org: SmallOrg, path: str, told: str) -> None:
    found = faults(org, ["LastName", path])
    assert told in found
    assert bool(found) == bool(told)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (("Born__c", pa.date32()), ""),
        (("Born__c", pa.timestamp("us")), ""),
        (("Born__c", pa.string()), ""),
        (("Born__c", pa.null()), ""),
        (("Born__c", pa.int64()), "Born__c is a number (int64), and the field Born__c a date"),
        (("Born__c", pa.bool_()), "is a boolean"),
        (("Score__c", pa.decimal128(10, 2)), ""),
        (("Score__c", pa.string()), ""),
        (("Score__c", pa.dictionary(pa.int8(), pa.string())), ""),
        (("Score__c", pa.date32()), "is a date (date32[day]), and the field Score__c a double"),
        (("Score__c", pa.binary()), "is a binary"),
        (("Active__c", pa.int8()), ""),
        (("Active__c", pa.timestamp("ns", tz="UTC")), "is a timestamp"),
        (("Email", pa.list_(pa.string())), "Email is a list: make it text in the query"),
        (("Email", pa.struct([("a", pa.int8())])), "Email is a struct"),
        (("AccountId", pa.int64()), "is a number"),
    ],
)
def test_types_that_can_never_become_the_fields_are_told(
    org: SmallOrg, column: tuple[str, pa.DataType], told: str
) -> None:
    found = faults(org, ["LastName", column])
    assert told in found
    assert bool(found) == bool(told)


def test_rights_on_the_object_are_asked_for_only_with_columns(org: SmallOrg) -> None:
    make_target(org.url, object="User").check()
    assert "may not create records" in faults(org, ["Email"], object="User")


def test_an_upsert_that_may_fail_for_new_records_is_warned_of_and_goes_on(org: SmallOrg, tmp_path: Path) -> None:
    org.records.append({"Id": "003A", "Ext_Id__c": "e1"})
    spool = make_spool(tmp_path / "s", [("e1", "web")], names=("Ext_Id__c", "Source__c"))
    events: list[Event] = []
    report = make_target(org.url, **UPSERT).export(spool, make_context(ListLedger(), events=events))
    assert report.accepted == 1
    warnings = " ".join(event.message for event in events if isinstance(event, Warned))
    assert "want of LastName" in warnings
    assert "Source__c cannot be set on existing records" in warnings


def test_a_fault_stops_an_export_before_anything_is_written(org: SmallOrg, tmp_path: Path) -> None:
    ledger = ListLedger()
    with pytest.raises(ExportError, match="no field Nickname"):
        make_target(org.url).export(
            make_spool(tmp_path / "s", [("a", "b")], names=("LastName", "Nickname")), make_context(ledger)
        )
    assert org.jobs == {}
    assert ledger.kept == []


def test_an_old_api_version_is_warned_of(org: SmallOrg, tmp_path: Path) -> None:
    events: list[Event] = []
    spool = make_spool(tmp_path / "s", [("a", "b")])
    make_target(org.url, api_version="32.0").export(spool, make_context(ListLedger(), events=events))
    assert "32.0 is deprecated" in " ".join(event.message for event in events if isinstance(event, Warned))
    assert org.count("/services/async/32.0/job") > 0
