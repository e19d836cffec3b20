"""Values as SOQL writes them, and when two of them mean the same."""

from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.salesforce.emulator_org import ask, csv_of, load

from exporter.emulator.org.org import Org
from exporter.rows.key_forms import normal
from exporter.targets.salesforce.api.soql import in_lists, literal
from exporter.targets.salesforce.preparation.id_lookup import takes_all

SCHEMA = {
    "objects": {
        "Thing__c": {
            "label": "Thing",
            "fields": {
                "Name": {"type": "string", "length": 80},
                "Score__c": {"type": "double", "precision": 18, "scale": 4},
            },
        }
    }
}
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
    lambda t: t == t.strip()
)


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Org]:
    from exporter.emulator.org.schema_file import load_schema  # noqa: PLC0415 - beside what it loads

    opened = Org(state=tmp_path_factory.mktemp("org") / "org.sqlite", schema=load_schema(SCHEMA))
    try:
        yield opened
    finally:
        opened.store.close()


@given(TEXTS.filter(lambda text: text == text.strip()))
def test_a_text_that_went_in_is_found_by_its_literal(org: Org, text: str) -> None:
    load(org, "insert", csv_of(["Name"], [text]), name="Thing__c")
    found = ask(org, f"SELECT Name FROM Thing__c WHERE Name IN ({literal(text, 'string')})")  # noqa: S608 - what is tried
    assert {normal(each, "folded") for each in found} == {normal(text, "folded")}


@given(st.decimals(min_value=-(10**10), max_value=10**10, places=4))
def test_a_number_that_went_in_is_found_by_its_literal(org: Org, number: Decimal) -> None:
    load(org, "insert", csv_of(["Score__c"], [format(number, "f")]), name="Thing__c")
    found = ask(org, f"SELECT Score__c FROM Thing__c WHERE Score__c IN ({literal(str(number), 'double')})")  # noqa: S608 - what is tried
    assert found
    for each in found:
        assert normal(str(each), "number") == normal(str(number), "number")


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("it's", "string", r"'it\'s'"),
        ("a\\b\n", "email", r"'a\\b\n'"),
        ("1e3", "double", "1000"),
        ("-0.50", "currency", "-0.50"),
        ("one", "int", None),
        ("NaN", "double", None),
        ("0035g00000ABCDEAAA", "id", "'0035g00000ABCDEAAA'"),
        ("' OR Name != '", "reference", None),
        ("TRUE", "boolean", "true"),
        ("yes", "boolean", None),
        ("2026-02-28", "date", "2026-02-28"),
        ("2026-02-28 OR", "date", None),
        ("2026-11-01T01:30:00.000+02:00", "datetime", "2026-10-31T23:30:00.000Z"),
        ("2026-11-01T01:30:00", "datetime", None),
        ("12:00:00.000Z", "time", "12:00:00.000Z"),
        ("x" * 4001, "string", None),
        ("a\0b", "string", None),
    ],
)
def test_a_literal_is_that_of_the_field_or_there_is_none(text: str, kind: str, expected: str | None) -> None:
    assert literal(text, kind) == expected


@given(st.lists(st.text(max_size=20), max_size=60), st.integers(50, 400))
def test_lists_hold_every_literal_once_in_order_and_stay_short(literals: list[str], longest: int) -> None:
    lists = list(in_lists(literals, longest=longest))
    assert [each for some in lists for each in some] == literals
    for some in lists:
        assert len(some) == 1 or len(quote_plus(",".join(some))) <= longest


@pytest.mark.parametrize(
    ("lists", "records", "expected"),
    [(1, 1, True), (1, 10_000, False), (10, 10_000, True), (10, 1_000_000, False), (200, 1_000_000, True)],
)
def test_the_way_with_fewer_calls_is_taken(lists: int, records: int, expected: bool) -> None:  # noqa: FBT001 - a parameter
    assert takes_all(lists=lists, records=records) is expected


def test_a_number_beyond_any_field_is_no_literal_and_is_not_written_out() -> None:
    assert literal("1e999999999", "double") is None
    assert normal("1e999999999", "number") == "1e999999999"
