"""What becomes of the rows of a batch."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples
from support.salesforce.emulator_org import csv_of, load, open_org

from exporter.emulator.org.org import USER_ID, Org
from exporter.emulator.org.record_table import BatchError


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Org]:
    with open_org(tmp_path) as opened:
        yield opened


def _names(org: Org, name: str = "Airport__c") -> dict[str, object]:
    return {record["Ext__c"]: record["Name"] for record in org.records(name)}


def test_an_inserted_record_has_its_values_its_defaults_and_its_dates(org: Org) -> None:
    outcome = load(org, "insert", "ext__C,Elevation__c,Open__c\nA,12,\nB,,true\n")
    assert outcome.created == [True, True]
    assert outcome.errors == {}
    first, second = org.records("Airport__c")
    assert [first["Id"], second["Id"]] == outcome.ids
    assert first["Id"].startswith("a00")
    assert (first["Ext__c"], first["Elevation__c"], first["Open__c"], first["Kind__c"]) == ("A", 12, 0, None)
    assert (second["Elevation__c"], second["Open__c"]) == (None, 1)
    assert first["Name"] == first["Id"]
    assert first["OwnerId"] == first["CreatedById"] == USER_ID
    assert first["CreatedDate"] == first["SystemModstamp"] == "2026-03-04T12:00:00.000Z"


def test_a_row_without_a_required_field_is_refused_and_the_others_are_not(org: Org) -> None:
    outcome = load(org, "insert", "Ext__c,Name\n,x\n#N/A,y\nC,z\n")
    message = "REQUIRED_FIELD_MISSING:Required fields are missing: [Ext__c]:Ext__c --"
    assert outcome.errors == {0: message, 1: message}
    assert outcome.ids[:2] == ["", ""]
    assert _names(org) == {"C": "z"}
    missing = load(org, "insert", "FirstName\nAnn\n", name="Lead")
    assert missing.errors[0] == (
        "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName, Company]:LastName,Company --"
    )


def test_the_first_error_of_a_row_is_told(org: Org) -> None:
    outcome = load(org, "insert", "Ext__c,Kind__c,Runways__c\n,huge,x\n")
    assert outcome.errors[0].startswith("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:")


def test_a_unique_value_is_taken_once_whatever_its_case(org: Org) -> None:
    first = load(org, "insert", "Ext__c\nA\na\nB\n")
    short = first.ids[0][:15]
    message = f"DUPLICATE_VALUE:duplicate value found: Ext__c duplicates value on record with id: {short}:--"
    assert first.errors == {1: message}
    assert load(org, "insert", "Ext__c\nA\nC\n").errors == {0: message}
    assert sorted(_names(org)) == ["A", "B", "C"]


def test_a_case_sensitive_unique_field_tells_case_apart(org: Org) -> None:
    assert load(org, "insert", "Ext__c,Code__c\n1,ab\n2,AB\n").errors == {}
    assert set(load(org, "insert", "Ext__c,Code__c\n3,Ab\n4,AB\n").errors) == {1}


def test_an_upsert_updates_what_is_there_and_inserts_the_rest(org: Org) -> None:
    first = load(org, "upsert", "Ext__c,Name,Kind__c\nA,one,small\nB,two,large\n", key="Ext__c")
    assert first.created == [True, True]
    again = load(org, "upsert", "Ext__c,Name,Kind__c\nb,,#N/A\nC,three,\n", key="Ext__c")
    assert again.created == [False, True]
    assert again.ids[0] == first.ids[1]
    records = {record["Ext__c"]: (record["Name"], record["Kind__c"]) for record in org.records("Airport__c")}
    assert records == {"A": ("one", "small"), "B": ("two", None), "C": ("three", None)}


def test_rows_of_one_key_within_200_are_all_refused_and_farther_apart_the_last_one_wins(org: Org) -> None:
    rows = [[f"k{number}", str(number)] for number in range(600)]
    rows[10][0] = rows[20][0] = "Same"
    rows[30][0] = "same"
    rows[599][0] = "k0"
    outcome = load(org, "upsert", csv_of(["Ext__c", "Name"], *rows), key="Ext__c")
    assert sorted(outcome.errors) == [10, 20, 30]
    assert outcome.errors[30] == "DUPLICATE_VALUE:Duplicate external id specified: same:Ext__c --"
    assert outcome.ids[599] == outcome.ids[0]
    assert outcome.created[599] is False
    assert _names(org)["k0"] == "599"
    assert org.count("Airport__c") == 596


def test_an_upsert_needs_its_key_in_each_row_and_no_id(org: Org) -> None:
    outcome = load(org, "upsert", f"Id,Ext__c,Name\n,,x\n,#N/A,y\n{USER_ID},A,z\n,B,\n", key="Ext__c")
    assert outcome.errors == {
        0: "MISSING_ARGUMENT:Ext__c not specified:--",
        1: "MISSING_ARGUMENT:Ext__c not specified:--",
        2: "INVALID_FIELD:cannot specify both an external ID reference and a salesforce id:Id --",
    }
    assert sorted(_names(org)) == ["B"]


def test_an_upsert_by_a_key_that_two_records_have_is_refused(org: Org) -> None:
    two = load(org, "insert", "LastName,Email\nA,x@example.org\nB,X@example.org\n", name="Contact")
    outcome = load(org, "upsert", "LastName,Email\nC,x@example.org\n", key="Email", name="Contact")
    ids = ", ".join(two.ids)
    assert outcome.errors == {
        0: f"DUPLICATE_EXTERNAL_ID:Email: more than one record found for external id field: [{ids}]:Email --"
    }


def test_an_update_goes_by_id_of_15_or_18_characters_and_leaves_empty_cells_alone(org: Org) -> None:
    one, two = load(org, "insert", "Ext__c,Name,Runways__c\nA,a,1\nB,b,2\n").ids
    content = csv_of(["Id", "Name", "Runways__c"], [one[:15], "", "#N/A"], [two, "c", ""])
    outcome = load(org, "update", content)
    assert (outcome.ids, outcome.created, outcome.errors) == ([one, two], [False, False], {})
    assert [(each["Name"], each["Runways__c"]) for each in org.records("Airport__c")] == [("a", None), ("c", 2)]


def test_an_update_says_which_records_are_not_there(org: Org) -> None:
    [gone] = load(org, "insert", "Ext__c\nA\n").ids
    load(org, "delete", f"Id\n{gone}\n")
    rows = [["", "x"], ["nonsense", "x"], [USER_ID, "x"], ["a005g000000zzzz", "x"], [gone, "x"]]
    errors = load(org, "update", csv_of(["Id", "Name"], *rows)).errors
    assert [errors[row] for row in range(5)] == [
        "MISSING_ARGUMENT:Id not specified:--",
        "MALFORMED_ID:Record ID: id value of incorrect type: nonsense:Id --",
        f"MALFORMED_ID:Record ID: id value of incorrect type: {USER_ID}:Id --",
        "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--",
        "ENTITY_IS_DELETED:entity is deleted:--",
    ]


def test_one_record_is_updated_at_most_12_times_among_200(org: Org) -> None:
    [record] = load(org, "insert", "Ext__c\nA\n").ids
    outcome = load(org, "update", csv_of(["Id", "Name"], *([record, str(number)] for number in range(14))))
    assert sorted(outcome.errors) == [12, 13]
    assert "Maximum number of duplicate updates in one batch (12 allowed)" in outcome.errors[12]
    assert _names(org) == {"A": "11"}


def test_an_update_cannot_take_a_unique_value_from_another_record(org: Org) -> None:
    one, two = load(org, "insert", "Ext__c\nA\nB\n").ids
    outcome = load(org, "update", csv_of(["Id", "Ext__c"], [one, "a"], [two, "A"]))
    assert set(outcome.errors) == {1}
    assert [record["Ext__c"] for record in org.records("Airport__c")] == ["a", "B"]


def test_deleted_records_go_to_the_recycle_bin_and_free_their_keys(org: Org) -> None:
    one, two = load(org, "insert", "Ext__c\nA\nB\n").ids
    outcome = load(org, "delete", f"Id\n{one}\n{one}\n")
    assert outcome.errors == {1: "ENTITY_IS_DELETED:entity is deleted:--"}
    assert (org.count("Airport__c"), org.count("Airport__c", deleted=True)) == (1, 1)
    assert load(org, "insert", "Ext__c\nA\n").errors == {}
    load(org, "hardDelete", f"Id\n{two}\n")
    assert (org.count("Airport__c"), org.count("Airport__c", deleted=True)) == (1, 1)


def test_fields_that_cannot_be_written_refuse_the_rows_that_write_them(org: Org) -> None:
    outcome = load(org, "insert", "Ext__c,CreatedDate\nA,\nB,2020-01-01T00:00:00Z\n")
    assert set(outcome.errors) == {1}
    assert outcome.errors[1].startswith(
        "INVALID_FIELD_FOR_INSERT_UPDATE:Unable to create/update fields: CreatedDate. Please check"
    )
    [record] = load(org, "insert", "LastName,FirstName\nLovelace,Ada\n", name="Contact").ids
    found = next(iter(org.records("Contact")))
    assert (found["Id"], found["Name"]) == (record, "Ada Lovelace")
    refused = load(org, "insert", f"Id,Ext__c\n{record},Z\n").errors
    assert refused == {0: "INVALID_FIELD_FOR_INSERT_UPDATE:cannot specify Id in an insert call:Id --"}


def test_parents_are_found_by_id_or_by_their_external_id(org: Org) -> None:
    [account] = load(org, "insert", "Name,Ext_Id__c\nAcme,acme\n", name="Account").ids
    rows = csv_of(["Ext__c", "City__r.Ext_Id__c"], ["A", "ACME"], ["B", "nobody"], ["C", ""], ["D", "#N/A"])
    outcome = load(org, "insert", rows)
    assert outcome.errors == {
        1: "INVALID_FIELD:Foreign key external ID: nobody not found for field Ext_Id__c in entity Account:--"
    }
    assert [record["City__c"] for record in org.records("Airport__c")] == [account, None, None]
    direct = load(
        org, "insert", csv_of(["Ext__c", "City__c"], ["E", account], ["F", "0015g000000zzzz"], ["G", USER_ID])
    )
    refused = "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:City__c --"
    assert direct.errors == {1: refused, 2: refused}


def test_an_empty_parents_cell_leaves_the_link_alone_and_a_null_marker_empties_it(org: Org) -> None:
    [account] = load(org, "insert", "Name,Ext_Id__c\nAcme,acme\n", name="Account").ids
    assert load(org, "insert", csv_of(["Ext__c", "City__r.Ext_Id__c"], ["A", "acme"], ["B", "acme"])).errors == {}
    rows = csv_of(["Ext__c", "City__r.Ext_Id__c"], ["A", ""], ["B", "#N/A"])
    assert load(org, "upsert", rows, key="Ext__c").errors == {}
    assert [record["City__c"] for record in org.records("Airport__c")] == [account, None]


def test_a_path_to_one_of_several_objects_names_the_type_and_any_other_does_not(org: Org) -> None:
    [lead] = load(org, "insert", "LastName,Company,Email\nA,B,a@example.org\n", name="Lead").ids
    assert load(org, "insert", "Subject,Lead:Who.Email\nCall,a@example.org\n", name="Task").errors == {}
    assert next(iter(org.records("Task")))["WhoId"] == lead
    for header, message in (
        ("Who.Email", "InvalidBatch : Type is needed for polymorphic foreign key : Who.Email"),
        ("Account:City__r.Ext_Id__c", "InvalidBatch : type is not needed for non polymorphic foreign key"),
    ):
        with pytest.raises(BatchError, match=re.escape(message)):
            load(org, "insert", f"{header}\nx\n", name="Task" if header == "Who.Email" else "Airport__c")


@pytest.mark.parametrize(
    ("operation", "header", "message"),
    [
        ("insert", "Ext__c,Nowhere__c", "InvalidBatch : Field name not found : Nowhere__c"),
        ("insert", "Ext__c,EXT__C", "InvalidBatch : Duplicate field name : Ext__c"),
        ("insert", "Ext__c,City__r.Name", "InvalidBatch : Field name not found : City__r.Name"),
        ("insert", "Ext__c,City__r.Ext_Id__c.X", "InvalidBatch : Field name not found : City__r.Ext_Id__c.X"),
        ("update", "Ext__c,Name", "InvalidBatch : Field name not found : Id"),
        ("upsert", "Name,Kind__c", "InvalidBatch : Field name not found : Ext__c"),
        ("delete", "Id,Name", "InvalidBatch : delete takes no field but Id"),
    ],
)
def test_a_header_that_does_not_fit_fails_the_batch(org: Org, operation: str, header: str, message: str) -> None:
    with pytest.raises(BatchError, match=f"^{re.escape(message)}$"):
        load(org, operation, f"{header}\na,b\n", key="Ext__c" if operation == "upsert" else None)
    assert org.count("Airport__c") == 0


def test_what_nobody_may_do_is_refused_row_by_row(org: Org) -> None:
    refused = load(org, "insert", "Username,LastName,Email\na,b,c@example.org\n", name="User").errors
    assert refused == {0: "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY:entity type User does not support create:--"}


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=80)


@examples(60)
@given(st.lists(_TEXTS.filter(lambda text: text != "#N/A"), min_size=1, max_size=8))
def test_any_text_comes_out_as_it_went_in(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory, open_org(Path(directory)) as org:
        rows = [[str(number), text, text] for number, text in enumerate(texts)]
        assert load(org, "insert", csv_of(["Ext__c", "Name", "Notes__c"], *rows)).errors == {}
        assert [(record["Name"], record["Notes__c"]) for record in org.records("Airport__c")] == [
            (text, text) for text in texts
        ]
