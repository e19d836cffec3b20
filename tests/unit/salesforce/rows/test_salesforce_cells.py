"""Cells that a field cannot take, found in whole columns: what is refused, what is doubtful, and what passes."""

from typing import Any

import pyarrow as pa
import pytest
from support.salesforce.fields import make_field

from exporter.targets.salesforce.fields import Field
from exporter.targets.salesforce.preparation.cell_check import CellChecks, CellFinding, CheckedColumn


def look(cells: list[str], field: Field, *, arrow: str = "string", **others: Any) -> list[CellFinding]:
    shape: dict[str, Any] = {"name": "c", "type": arrow, "field": field, "inserts": True, "updates": False}
    checks = CellChecks([CheckedColumn(**(shape | others))])
    if not checks.names:
        return []
    return checks.look(pa.record_batch([pa.array(cells, pa.string())], names=["c"]))


def verdicts(cells: list[str], field: Field, **others: Any) -> dict[str, str]:
    """Return the code of each cell that is refused; a doubtful one's with a question mark."""
    found = look(cells, field, **others)
    return {cells[each.index]: each.code + "?" * each.doubtful for each in found}


def refused(code: str, *cells: str) -> dict[str, str]:
    return dict.fromkeys(cells, code)


def doubtful(code: str, *cells: str) -> dict[str, str]:
    return dict.fromkeys(cells, f"{code}?")


NOTHING = ["", "#N/A"]
BAD = "INVALID_FIELD"
DATES = ["2026-11-23", "1700-01-01", "4000-12-31", "2024-02-29", "2000-02-29"]
MOMENTS = ["2026-11-23T03:00:00Z", "2026-11-23T03:00:00.123456+02:00", "2026-11-23T03:00:00.000-0800"]
NEAR_THE_ENDS = ["4000-12-31T18:59:59-05:00", "1700-01-01T05:00:00.000+0500", "2026-02-28T00:00:00+14:00"]
NO_DAYS = ["2026-02-30", "2026-04-31", "2025-02-29", "1900-02-29", "2026-13-01", "2026-00-10"]
BEYOND = ["4000-12-31T23:59:59-05:00", "1700-01-01T00:00:00.123456789+00:01", "4000-12-31T19:00:00-0500"]


@pytest.mark.parametrize(
    ("kind", "fine", "wrong"),
    [
        ("boolean", ["true", "FALSE", "1", "0"], refused(BAD, "maybe", "2") | doubtful(BAD, "Yes", "n", "off")),
        (
            "int",
            ["42", "-7", "+0", "2147483647", "-2147483648", "000000000000000000012"],
            refused(BAD, "1.0", "1e3", "one", "1,000", "2147483648", "9" * 500, "\u0661") | doubtful(BAD, " 42 ", " "),
        ),
        ("long", ["9223372036854775807"], refused(BAD, "9223372036854775808", "1.5")),
        (
            "double",
            ["1", "-1.5", ".5", "5.", "1e3", "1E-10"],
            refused(BAD, "1,5", "$5", "one", "1 000") | doubtful(BAD, "INF", "NaN", "1d", "1e1000"),
        ),
        (
            "date",
            DATES,
            refused(BAD, "6/15/19", "46204", "2026-1-5", "today")
            | doubtful(BAD, *NO_DAYS, " 2026-11-23 ", "2026-11-23\t", "  ")
            | doubtful(BAD, "2026-02-30T", "2026-13-01", "2026-11-23T00:00:00Z", "2026-11-23 00:00:00", "2026-11-23Z")
            | doubtful(BAD, "1699-12-31", "4001-01-01"),
        ),
        (
            "datetime",
            [*MOMENTS, *NEAR_THE_ENDS],
            refused(BAD, "2026-11-23", "2026-11-23 03:00:00", "2026-11-23 03:00:00+00:00", "1763866800")
            | doubtful(BAD, "2026-11-23T03:00:00", "2026-11-23T24:00:00Z", "2026-11-23T03:00Z", "1600-01-01T00:00:00Z")
            | doubtful(BAD, *(f"{day}T00:00:00Z" for day in NO_DAYS), *BEYOND)
            | doubtful(BAD, "2026-11-23T00:00:00+99:99", "2026-11-23T00:00:00-25:00", "2026-11-23T00:00:00+14:01"),
        ),
        (
            "time",
            ["03:00:00.000Z", "23:59:59"],
            refused(BAD, "noon")
            | doubtful(BAD, "3:00", "24:00:00Z", "03:00 PM", "03:00:00.1234Z"),
        ),
        (
            "reference",
            ["0035g00000AbCdE", "0035g00000AbCdEAAV"],
            refused("MALFORMED_ID", "NOT LINKED", "0035g00000AbCdEA", "0035g00000-bCdE"),
        ),
        ("id", ["0035g00000AbCdE"], refused("MALFORMED_ID", "1")),
        (
            "email",
            ["a@b.example", "o'neil+x@b.c.example", " a@b.example "],
            doubtful("INVALID_EMAIL_ADDRESS", "none", "a@b", "@b.example", "a@", "a@b@c.example", "a b@c.example"),
        ),
        ("of-a-later-release", ["anything at all"], {}),
    ],
)  # fmt: skip
def test_text_is_looked_at_as_the_type_of_the_field_asks(kind: str, fine: list[str], wrong: dict[str, str]) -> None:
    field = make_field(type=kind)
    assert verdicts([*NOTHING, *fine, *wrong], field) == wrong
    assert verdicts([*fine, *NOTHING], field) == {}


def test_a_message_names_the_column_and_what_to_write_and_never_the_value() -> None:
    [found] = look(["s3cret"], make_field(type="datetime"))
    assert found.message == "c: the text is not a valid value for the type xsd:dateTime; write 2026-11-23T03:00:00.000Z"
    messages = [
        each.message
        for field in (
            make_field(type="int", digits=2),
            make_field(type="reference"),
            make_field(type="picklist", restricted=True, values=("a",)),
            make_field(length=3),
        )
        for each in look(["s3cret", "123456"], field)
    ]
    assert len(messages) == 8
    assert not [message for message in messages if "s3cret" in message or "123456" in message]


def test_a_restricted_picklist_takes_its_values_and_labels_and_doubts_another_case() -> None:
    field = make_field(type="picklist", restricted=True, values=("hot", "Very hot"))
    code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert verdicts(["hot", "HOT", " very hot", "Very hot", "", "cold"], field) == refused(code, "cold") | doubtful(
        code, "HOT", " very hot"
    )
    assert verdicts(["cold"], field, inserts=False, updates=True) == {"cold": f"{code}?"}
    assert verdicts(["cold"], make_field(type="picklist", values=("hot",))) == {}
    several = make_field(type="multipicklist", restricted=True, values=("a", "b", "c"))
    cells = ["a", "a;b", "a;b;a", "b; C;", "a;B", "a;x", "x", ""]
    assert verdicts(cells, several) == refused(code, "a;x", "x") | doubtful(code, "b; C;", "a;B")


def test_what_the_org_may_correct_first_is_doubtful_only() -> None:
    assert verdicts(["ab\r\nc", "ab cd", "  abcd  ", "ääää"], make_field(length=4)) == doubtful(
        "STRING_TOO_LONG", "ab cd"
    )
    assert verdicts(["<b>bold</b>"], make_field(type="textarea", length=4, html=True)) == {}
    needed = make_field(required=True, nillable=False)
    assert verdicts(["", "#N/A", "x"], needed) == doubtful("REQUIRED_FIELD_MISSING", "", "#N/A")
    assert verdicts(["", "#N/A", "x"], needed, inserts=False, updates=True) == doubtful(
        "REQUIRED_FIELD_MISSING", "#N/A"
    )
    assert verdicts(["99.95", "100", "-0100.5"], make_field(type="double", precision=4, scale=2)) == doubtful(
        "NUMBER_OUTSIDE_VALID_RANGE", "100", "-0100.5"
    )
    assert verdicts(["99", "100"], make_field(type="int", digits=2)) == doubtful("NUMBER_OUTSIDE_VALID_RANGE", "100")


@pytest.mark.parametrize(
    ("precision", "scale", "fine", "beyond"),
    [
        (8, 2, ["999999.994", "1e5", "12345.6e1", "0e99", "1e-300", "-.5"], ["1e30", "12345.6e5", "999999.999", "1e6"]),
        (8, 2, ["999999.99", "00000999999"], ["-999999.995", "99999999e-1", "99999999.5e-2", "1E+999"]),
        (2, 2, ["0.99", ".5", "0", "00.994", "5e-2"], ["1.5", "7", "-1", ".995", "1e0", "99.5e-2"]),
        (3, 0, ["999.4", "999"], ["999.5", "1000", "1e3"]),
        (0, 0, ["1e30", "12345678901234567890"], []),
    ],
)
def test_a_number_that_does_not_fit_once_it_is_rounded_is_doubtful(
    precision: int, scale: int, fine: list[str], beyond: list[str]
) -> None:
    field = make_field(type="double", precision=precision, scale=scale)
    assert verdicts([*fine, *beyond], field) == doubtful("NUMBER_OUTSIDE_VALID_RANGE", *beyond)


def test_a_number_is_no_email_address() -> None:
    assert verdicts(["42"], make_field(type="email"), arrow="int64") == doubtful("INVALID_EMAIL_ADDRESS", "42")


def test_an_instant_of_a_typed_column_before_1700_is_doubtful() -> None:
    cells = ["1699-12-31T23:59:59.999Z", "1700-01-01T00:00:00.000Z"]
    found = verdicts(cells, make_field(type="datetime"), arrow="timestamp[us, tz=UTC]")
    assert found == doubtful(BAD, "1699-12-31T23:59:59.999Z")


def test_a_checkbox_cannot_be_emptied() -> None:
    checkbox = make_field(type="boolean", nillable=False)
    assert verdicts(["", "#N/A", "true"], checkbox) == doubtful("REQUIRED_FIELD_MISSING", "#N/A")


def test_a_row_has_one_reason_and_a_sure_one_before_a_doubtful_one() -> None:
    fields = [make_field(name="A", length=1), make_field(name="B", type="date"), make_field(name="C", type="int")]
    columns = [CheckedColumn(name=each.name, type="string", field=each, inserts=True, updates=False) for each in fields]
    batch = pa.record_batch([["aa", "a"], ["x", ""], ["y", ""]], names=["A", "B", "C"])
    [found] = CellChecks(columns).look(batch)
    assert (found.index, found.message.partition(":")[0], found.doubtful) == (0, "B", False)


def test_columns_whose_type_says_all_are_not_looked_at() -> None:
    pairs = [("bool", "boolean"), ("date32[day]", "date"), ("time64[us]", "time"), ("null", "int"), ("null", "email")]
    columns = [
        CheckedColumn(name=kind, type=arrow, field=make_field(type=kind), inserts=True, updates=False)
        for arrow, kind in pairs
    ]
    assert CellChecks(columns).names == []


def test_numbers_of_a_typed_column_are_looked_at_for_what_the_field_holds() -> None:
    whole = make_field(type="int")
    assert verdicts(["5", "1.5"], whole, arrow="double") == refused(BAD, "1.5")
    assert verdicts(["5", "3000000000"], whole, arrow="int64") == refused(BAD, "3000000000")
    assert verdicts(["1", "2"], make_field(type="boolean"), arrow="int8") == refused(BAD, "2")


def test_of_a_parents_key_only_the_type_counts() -> None:
    key = make_field(type="double", precision=3, scale=0)
    assert verdicts(["12", "x"], key, is_own=False) == refused(BAD, "x")
    assert verdicts(["much too long", ""], make_field(length=2, required=True), is_own=False) == {}


def test_an_id_of_another_object_is_doubtful_where_the_objects_are_known() -> None:
    owner = make_field(type="reference")
    cells = ["0055g00000AbCdE", "00g5g00000AbCdE", "00G5g00000AbCdEAAV", "00g5g00000abcdeaav", "0015g00000AbCdE"]
    assert verdicts(cells, owner, prefixes=("005", "00G")) == doubtful(
        "INVALID_CROSS_REFERENCE_KEY", "00g5g00000AbCdE", "0015g00000AbCdE"
    )
    assert verdicts(cells, owner) == {}


def test_an_id_of_a_record_that_is_deleted_first_is_doubtful() -> None:
    link = make_field(type="reference")
    assert verdicts(["0015g00000AbCdE", "", "#N/A"], link, to_deleted=True) == doubtful(
        "INVALID_CROSS_REFERENCE_KEY", "0015g00000AbCdE"
    )


def test_a_lookup_to_another_system_holds_any_key() -> None:
    assert verdicts(["A-17"], make_field(type="reference", plain_id=False)) == {}


@pytest.mark.parametrize(
    ("arrow", "field", "sure", "all_"),
    [
        ("string", make_field(type="string", length=80), False, True),
        ("string", make_field(type="date"), True, True),
        ("string", make_field(type="picklist", restricted=True, values=("hot",)), True, True),
        ("date32[day]", make_field(type="date"), False, False),
        ("bool", make_field(type="boolean"), False, False),
        ("int32", make_field(type="int"), False, True),
        ("int64", make_field(type="int"), True, True),
        ("int64", make_field(type="double", precision=18), False, True),
        ("decimal128(8, 2)", make_field(type="currency", precision=8, scale=2), False, True),
        ("double", make_field(type="int"), True, True),
    ],
)
def test_a_column_is_read_again_only_where_its_type_leaves_something_open(
    arrow: str,
    field: Field,
    sure: bool,  # noqa: FBT001 - a parameter
    all_: bool,  # noqa: FBT001 - a parameter
) -> None:
    column = CheckedColumn(name="c", type=arrow, field=field, inserts=True, updates=False)
    assert bool(CellChecks([column], doubts=False).names) is sure
    assert bool(CellChecks([column]).names) is all_


def test_doubts_are_left_out_where_nobody_asks_for_them() -> None:
    column = CheckedColumn(name="c", type="string", field=make_field(type="boolean"), inserts=True, updates=False)
    batch = pa.record_batch([pa.array(["yes", "maybe", "true"])], names=["c"])
    assert [each.index for each in CellChecks([column], doubts=False).look(batch)] == [1]
    assert [each.index for each in CellChecks([column]).look(batch)] == [0, 1]
