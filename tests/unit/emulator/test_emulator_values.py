from typing import Any

import pytest

from exporter.emulator.org.field_values import LEAVE, Errors, read_column
from exporter.emulator.org.schema import Field, build_schema


def _field(**attributes: Any) -> Field:
    schema = build_schema(
        {"objects": {"User": {"prefix": "005"}, "X__c": {"fields": {"F__c": {"label": "Effect", **attributes}}}}}
    )
    found = schema.objects["x__c"].field("F__c")
    assert found is not None
    return found


def _read(text: str, **attributes: Any) -> object:
    """Return the value of a cell, or its error."""
    errors = Errors()
    column = read_column(_field(**attributes), ["", text, "#N/A"], 3, errors)
    assert column.values[0] is LEAVE
    assert column.values[2] is None
    assert column.gaps
    assert set(errors) <= {1}
    return errors.get(1, column.values[1])


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("boolean", "true", 1),
        ("boolean", "FALSE", 0),
        ("boolean", "1", 1),
        ("int", "-2147483648", -(2**31)),
        ("date", "2024-02-29", "2024-02-29"),
        ("datetime", "2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000Z"),
        ("datetime", "2024-02-29T12:00:00.123456+02:00", "2024-02-29T10:00:00.123Z"),
        ("datetime", "2024-02-29T00:30:00.000+0100", "2024-02-28T23:30:00.000Z"),
        ("datetime", "2024-02-29T12:00:00.999Z", "2024-02-29T12:00:00.999Z"),
        ("time", "23:59:59", "23:59:59.000Z"),
        ("time", "01:02:03.4Z", "01:02:03.400Z"),
        ("string", " kept as it is ", " kept as it is "),
        ("email", "ann.o'neil+x@mail.example.org", "ann.o'neil+x@mail.example.org"),
    ],
)
def test_a_value_is_stored_in_one_form(kind: str, text: str, value: object) -> None:
    assert _read(text, type=kind) == value


@pytest.mark.parametrize(
    ("kind", "text", "xsd"),
    [
        ("boolean", "yes please", "boolean"),
        ("int", "1.5", "int"),
        ("int", "2147483648", "int"),
        ("int", "1_000", "int"),
        ("int", "\u0661", "int"),
        ("double", "1,5", "double"),
        ("double", "nan", "double"),
        ("double", "Infinity", "double"),
        ("double", "0x1p3", "double"),
        ("currency", "$5", "double"),
        ("date", "2023-02-29", "date"),
        ("date", "1699-12-31", "date"),
        ("date", "6/15/19", "date"),
        ("date", "2003-04-987654321987654321", "date"),
        ("date", "2024-02-29T00:00:00Z", "date"),
        ("datetime", "2018-09-28", "dateTime"),
        ("datetime", "2024-02-29T12:00:00", "dateTime"),
        ("datetime", "2024-02-29 12:00:00Z", "dateTime"),
        ("datetime", "2024-02-30T12:00:00Z", "dateTime"),
        ("datetime", "2024-02-29T25:00:00.000Z", "dateTime"),
        ("time", "24:00:00", "time"),
    ],
)
def test_text_that_is_no_such_value_is_refused_in_the_words_of_xml_schema(kind: str, text: str, xsd: str) -> None:
    assert _read(text, type=kind) == (
        f"INVALID_FIELD:Failed to deserialize field at col 3. Due to, '{text}' is not a valid value for the type "
        f"xsd:{xsd}:F__c --"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("432", 432), ("432.0", 432.0), ("-0.05", -0.1), ("1.25", 1.3), ("1e2", 100.0), (".5", 0.5), ("99999.9", 99999.9)],
)
def test_a_number_is_rounded_half_away_from_zero_to_its_decimals(text: str, value: float) -> None:
    assert _read(text, type="double", precision=6, scale=1) == value


@pytest.mark.parametrize("text", ["100000", "99999.95", "-1e6", "1e300"])
def test_a_number_with_too_many_digits_is_out_of_range(text: str) -> None:
    assert _read(text, type="double", precision=6, scale=1) == (
        f"NUMBER_OUTSIDE_VALID_RANGE:Effect: value outside of valid range on numeric field: {text}:F__c --"
    )


def test_text_is_as_long_as_its_field_and_no_longer() -> None:
    assert _read("ä" * 5, length=5) == "ä" * 5
    assert _read("ä" * 6, length=5) == ("STRING_TOO_LONG:Effect: data value too large: ääääää (max length=5):F__c --")


@pytest.mark.parametrize("text", ["nobody", "a@b", "a b@c.org", "a@c..org", "@c.org", "a@b.org, c@d.org", "ä@b.org"])
def test_an_email_has_a_name_and_a_domain(text: str) -> None:
    assert _read(text, type="email") == f"INVALID_EMAIL_ADDRESS:Effect: invalid email address: {text}:F__c --"


def test_a_restricted_picklist_takes_its_values_only_and_another_takes_all() -> None:
    refused = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:Effect: bad value for restricted picklist field: c:F__c --"
    assert _read("a", type="picklist", values=["a", "b"], restricted=True) == "a"
    assert _read("c", type="picklist", values=["a", "b"], restricted=True) == refused
    assert _read("c", type="picklist", values=["a", "b"]) == "c"
    assert _read("b;a", type="multipicklist", values=["a", "b"], restricted=True) == "b;a"
    assert _read("c", type="multipicklist", values=["a", "b"], restricted=True) == refused


def test_a_reference_takes_an_id_of_15_or_18_characters() -> None:
    assert _read("005D000000IqhSL", type="reference", reference_to=["User"]) == "005D000000IqhSLIAZ"
    refused = "MALFORMED_ID:Effect: id value of incorrect type: ann:F__c --"
    assert _read("ann", type="reference", reference_to=["User"]) == refused
