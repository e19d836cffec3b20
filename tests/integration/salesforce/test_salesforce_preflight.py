from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.runs.exports import ListLedger, QuickControl, make_context, make_spool, make_target, people
from support.salesforce.small_org import Fault, Reply, SmallOrg, small_org, text_field

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


def test_an_object_that_is_listed_and_not_described_is_not_proposed_instead_of_itself(org: SmallOrg) -> None:
    refusal = b'[{"errorCode":"INVALID_TYPE","message":"sObject type \'Contact\' is not supported."}]'
    org.faults.append(Fault(pattern="Contact/describe", how=Reply(400, refusal)))
    with pytest.raises(ExportError, match="lists the object Contact, but does not describe it") as caught:
        make_target(org.url).check(None)
    assert caught.value.code == "UNKNOWN_OBJECT"
    assert "nearest" not in caught.value.message


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
        (("Born__c", pa.timestamp("us")), "field Born__c is of type date: write cast(Born__c as date) in the query"),
        (("Born__c", pa.string()), ""),
        (("Born__c", pa.null()), ""),
        (("Born__c", pa.int64()), "Born__c is a number (int64), and the field Born__c is of type date"),
        (("Born__c", pa.bool_()), "is a boolean"),
        (("Score__c", pa.decimal128(10, 2)), ""),
        (("Score__c", pa.string()), ""),
        (("Score__c", pa.dictionary(pa.int8(), pa.string())), ""),
        (("Score__c", pa.date32()), "is a date (date32[day]), and the field Score__c is of type double"),
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


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (["AccountId", "Account.Ext__c"], "AccountId and Account.Ext__c both set AccountId"),
        (["Account.Ext__c", "account.ext__c"], "column account.ext__c goes out twice"),
        (["User:Owner.Email", "Group:Owner.Name"], "User:Owner.Email and Group:Owner.Name both set OwnerId"),
        (["OwnerId", "User:Owner.Email"], "OwnerId and User:Owner.Email both set OwnerId"),
    ],
)
def test_a_lookup_that_is_named_twice_is_a_fault_before_anything_is_sent(
    org: SmallOrg, columns: list[str], told: str
) -> None:
    for names in (columns, columns[::-1]):
        target = make_target(org.url)
        with pytest.raises(ExportError) as caught:
            target.prepare(["LastName", *names], complete=False, control=QuickControl(), listen=lambda _event: None)
        assert caught.value.code == "UNFIT_COLUMNS"
        assert "both set" in caught.value.message or "goes out twice" in caught.value.message
    assert told in faults(org, ["LastName", *columns])


@pytest.fixture
def numbered(org: SmallOrg) -> SmallOrg:
    """Give the org an object with all kinds of fields that nobody can write."""
    read_only = {"createable": False, "updateable": False}
    fields = [
        text_field("Id", type="id", nillable=False, defaultedOnCreate=True, **read_only),
        text_field("Number__c", autoNumber=True, externalId=True, idLookup=True, **read_only),
        text_field("Total__c", type="double", calculated=True, **read_only),
        text_field("Address__c", type="address", **read_only),
        text_field("Street__c", compoundFieldName="Address__c"),
        text_field("City__c", compoundFieldName="Address__c"),
        text_field("Note__c"),
    ]
    org.objects["Order__c"] = {"name": "Order__c", "createable": True, "updateable": True, "fields": fields}
    return org


def test_a_field_that_salesforce_fills_is_a_fault_with_the_way_out(numbered: SmallOrg) -> None:
    told = faults(numbered, ["Number__c", "Total__c", "Address__c", "Note__c"], object="Order__c")
    assert "Number__c cannot be set on new records: Salesforce numbers it: leave it out" in told
    assert "Total__c cannot be set on new records: Salesforce computes it: leave it out" in told
    assert "Address__c cannot be set on new records: it is made of Street__c, City__c: send those" in told
    assert "Note__c" not in told


def test_an_auto_number_is_a_key_to_update_by_and_none_to_upsert_by(numbered: SmallOrg) -> None:
    columns, options = ["Number__c", "Note__c"], {"object": "Order__c", "mode": "update", "key": "Number__c"}
    told = faults(numbered, columns, upsert=True, **options)
    assert "key Number__c is an auto-number, so that no new record can get it: leave out upsert" in told
    assert faults(numbered, columns, **options) == ""
    assert "Total__c is no external id" in faults(
        numbered, ["Total__c", "Note__c"], upsert=True, **(options | {"key": "Total__c"})
    )
    assert faults(numbered, ["Total__c", "Note__c"], **(options | {"key": "Total__c"})) == ""


def test_what_describe_tells_is_asked_once_for_all_of_a_run(org: SmallOrg, tmp_path: Path) -> None:
    target, spool = make_target(org.url), make_spool(tmp_path / "s", people(4))
    target.prepare(["LastName", "Account.Ext__c"], complete=False, control=QuickControl(), listen=lambda _event: None)
    before = org.count("describe")
    assert (org.logins, before) == (1, 2)
    assert target.export(spool, make_context(ListLedger())).accepted == 4
    assert (org.logins, org.count("describe")) == (1, before)


def test_a_login_that_ended_during_the_query_is_followed_by_another(org: SmallOrg, tmp_path: Path) -> None:
    target, spool = make_target(org.url), make_spool(tmp_path / "s", people(4))
    target.prepare([], complete=False, control=QuickControl(), listen=lambda _event: None)
    org.token = "another"
    assert target.export(spool, make_context(ListLedger())).accepted == 4
    assert org.logins == 2


@pytest.mark.parametrize(
    ("options", "names", "told"),
    [
        ({"object": "Contct"}, [], "no object Contct"),
        ({"object": "User"}, [], "the user may not create records"),
        (UPSERT | {"key": "Extid__c"}, [], "no field Extid__c to go by as key"),
        ({}, ["Emial"], "no field Emial (nearest: Email)"),
        ({}, ["CreatedDate"], "CreatedDate cannot be set on new records"),
    ],
)
def test_what_needs_no_rows_is_told_before_the_query(
    org: SmallOrg, options: dict[str, Any], names: list[str], told: str
) -> None:
    target = make_target(org.url, **options)
    with pytest.raises(ExportError) as caught:
        target.prepare(names, complete=False, control=QuickControl(), listen=lambda _event: None)
    assert told in caught.value.message
    assert "required, but not among" not in caught.value.message
    assert org.jobs == {}


def test_a_mapping_that_names_all_columns_is_held_to_what_a_new_record_needs(org: SmallOrg) -> None:
    with pytest.raises(ExportError, match="required, but not among the columns: LastName"):
        make_target(org.url).prepare(["Email"], complete=True, control=QuickControl(), listen=lambda _event: None)


def test_rights_on_the_object_are_asked_for_only_with_columns(org: SmallOrg) -> None:
    make_target(org.url, object="User").check()
    assert "may not create records" in faults(org, ["Email"], object="User")


def test_an_upsert_that_may_fail_for_new_records_is_warned_of_and_goes_on(org: SmallOrg, tmp_path: Path) -> None:
    org.records.append({"Id": "003000000000099AAA", "Ext_Id__c": "e1"})
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
    assert not ledger.kept


def test_an_old_api_version_is_warned_of(org: SmallOrg, tmp_path: Path) -> None:
    events: list[Event] = []
    spool = make_spool(tmp_path / "s", [("a", "b")])
    make_target(org.url, api_version="32.0").export(spool, make_context(ListLedger(), events=events))
    assert "32.0 is deprecated" in " ".join(event.message for event in events if isinstance(event, Warned))
    assert org.count("/services/async/32.0/job") > 0
