"""No message that leaves the rejected row holds a value of a row."""

import pytest

from exporter.targets.salesforce.http.error_codes import Verdict, Where, classify
from exporter.targets.salesforce.http.message_values import inner_codes, without_values

SECRET = "jane: doe's [x] 987654"
FORMS = [
    ("Email: invalid email address: {}", "Email: invalid email address: …"),
    ("Name: data value too large: {} (max length=5) (max length=40)", "Name: data value too large: … (max length=40)"),
    ("Color: bad value for restricted picklist field: {}", "Color: bad value for restricted picklist field: …"),
    ("Account ID: id value of incorrect type: {}", "Account ID: id value of incorrect type: …"),
    ("id value of incorrect type: {}", "id value of incorrect type: …"),
    (
        "Score: value outside of valid range on numeric field: {}",
        "Score: value outside of valid range on numeric field: …",
    ),
    ("Score__c: value not of required type: {}", "Score__c: value not of required type: …"),
    (
        "Record Type ID: this ID value isn't valid for the user: {}",
        "Record Type ID: this ID value isn't valid for the user: …",
    ),
    (
        "Foreign key external ID: {} not found for field Ext__c in entity Account",
        "Foreign key external ID: … not found for field Ext__c in entity Account",
    ),
    (
        "Failed to deserialize field at col 3. Due to, '{}' is not a valid value for the type xsd:date",
        "Failed to deserialize field at col 3. Due to, … is not a valid value for the type xsd:date",
    ),
    (
        "Failed to deserialize field at col 3. Due to, invalid date: {}",
        "Failed to deserialize field at col 3. Due to, …",
    ),
    (
        "duplicate value found: Ext_Id__c duplicates value on record with id: {}",
        "duplicate value found: Ext_Id__c duplicates value on record with id: …",
    ),
    ("Duplicate external id specified: {}", "Duplicate external id specified: …"),
    (
        "Ext__c: more than one record found for external id field: [{}]",
        "Ext__c: more than one record found for external id field: …",
    ),
    (
        (
            "Maximum number of duplicate updates in one batch (12 allowed). Attempt to update Id more than once in "
            "this Api call: {}"
        ),
        (
            "Maximum number of duplicate updates in one batch (12 allowed). Attempt to update Id more than once in "
            "this Api call: …"
        ),
    ),
    ("malformed id {}", "malformed id …"),
    ("bad id {}", "bad id …"),
    ("invalid ID field: {}", "invalid ID field: …"),
    (
        "unable to obtain exclusive access to this record or 2 records: {}",
        "unable to obtain exclusive access to this record",
    ),
    ("insufficient access rights on cross-reference id: {}", "insufficient access rights on cross-reference id"),
    (
        "Your attempt to delete {} could not be completed because it is associated with the following cases: {}",
        "Your attempt to delete … could not be completed because …",
    ),
    (
        "operation performed with inactive user [{}] as owner of account",
        "operation performed with inactive user […] as owner of account",
    ),
    (
        "value of filter criterion for field 'Age__c' must be of type double and should not be enclosed: {}",
        "value of filter criterion for field 'Age__c' must be of type double",
    ),
]


@pytest.mark.parametrize(("form", "shown"), FORMS)
@pytest.mark.parametrize("value", [SECRET, "x", "(max length=9)", "a\r\nb", "not found for field X in entity Y"])
def test_a_message_of_a_known_form_keeps_its_words_and_no_value(form: str, shown: str, value: str) -> None:
    assert without_values(form.format(value, value)) == shown


@pytest.mark.parametrize(
    "message",
    [
        "Required fields are missing: [Internationalization, Ext_Id__c]",
        "No such column 'Agee' on sobject of type Contact",
        "Field name not found : Account.Ext__c",
        "type is not needed for non polymorphic foreign key : Account:Account.Ext__c",
        "sObject type 'Contct' is not supported.",
        "Too many lock failure 200 Trying again later.",
        "invalid cross reference id",
        "entity is deleted",
        "Id not specified in an update call",
        "Use one of these records?",
        "storage limit exceeded",
        "Please enter a phone number",
    ],
)
def test_a_message_without_a_value_stays_as_it_is(message: str) -> None:
    assert without_values(message) == message


def test_a_message_of_somebodys_own_loses_all_that_could_be_a_value() -> None:
    words = "No discount above 20 for 'Jane' (jane@example.com, Jane Doe, 0035g00000AbCdEAAV) on “Gold”"
    assert without_values(words, ["Jane Doe", None, "x", ""]) == "No discount above … for … (…, …, …) on …"


def test_a_rows_own_cells_are_found_in_any_case_and_across_lines() -> None:
    assert without_values("We know jane\n doe already", ["Jane Doe"]) == "We know … already"


def test_a_triggers_message_keeps_where_it_was_and_salesforces_codes_only() -> None:
    message = (
        "AccountTrigger: execution of AfterInsert caused by: System.DmlException: Insert failed. First exception on "
        "row 0 with id 001B000001ABCdEIAX; first error: FIELD_CUSTOM_VALIDATION_EXCEPTION, Jane Doe owes 987654: "
        "[Phone] Class.AccountHandler.run: line 5, column 1"
    )
    shown = without_values(message, ["unrelated"])
    assert shown == (
        "AccountTrigger: execution of AfterInsert … caused by: System.DmlException … Insert failed … "
        "first error: FIELD_CUSTOM_VALIDATION_EXCEPTION …"
    )
    assert inner_codes(shown) == inner_codes(message) == ["FIELD_CUSTOM_VALIDATION_EXCEPTION"]


def test_a_lock_is_still_one_without_its_values() -> None:
    message = "T: execution of AfterInsert caused by: System.QueryException: Record Currently Unavailable: Jane Doe"
    for each in (message, without_values(message)):
        assert classify(Where.ROW, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", each).verdict is Verdict.ROW_LOCKED


def test_the_query_that_an_error_repeats_is_left_out() -> None:
    message = (
        "\nSELECT Id, Ext__c FROM Contact WHERE Ext__c IN ('jane','doe')\n           ^\nERROR at Row:1:Column:12\n"
        "No such column 'Ext__c' on entity 'Contact'. If you are attempting to use a custom field, append '__c'"
    )
    assert without_values(message) == "No such column 'Ext__c' on entity 'Contact'"
    assert "jane" not in without_values(
        "SELECT Id FROM X WHERE A = 'jane' ERROR at Row:1:Column:12 unexpected token: jane'"
    )
