import json
from pathlib import Path
from typing import Any

import pytest

from exporter.emulator.org.schema import SchemaError, build_schema
from exporter.emulator.org.schema_file import load_schema
from exporter.emulator.org.standard_objects import STANDARD


def test_a_file_adds_objects_and_fields_to_the_standard_ones(tmp_path: Path) -> None:
    toml = tmp_path / "org.toml"
    toml.write_text(
        """
        [objects.Airport__c.fields]
        Ext__c = { length = 40, external_id = true, unique = true, required = true }
        City__c = { type = "reference", reference_to = ["Account"] }
        [objects.contact.fields]
        segment__c = { type = "picklist", values = ["a"], restricted = true }
        lastname = { required = false }
        """
    )
    schema = load_schema(toml)
    airport, contact = schema.find("airport__C"), schema.find("Contact")
    assert airport is not None
    assert contact is not None
    assert (airport.label, airport.prefix, airport.custom) == ("Airport", "a00", True)
    assert airport.relationships["city__r"].name == "City__c"
    last_name, segment = contact.field("LastName"), contact.field("Segment__c")
    assert last_name is not None
    assert segment is not None
    assert (last_name.length, last_name.required) == (80, False)
    assert segment.restricted
    path = tmp_path / "org.json"
    path.write_text(json.dumps({"objects": {"X__c": {}}}))
    found = load_schema(path).find("X__c")
    assert found is not None
    assert found.field("Name") is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"object": {}}, "the schema: unknown key object"),
        ({"objects": {"Airport": {}}}, "Airport is no standard object of the emulator: a custom object ends in __c"),
        ({"objects": {"A__c": {"field": {}}}}, "A__c: unknown key field"),
        ({"objects": {"A__c": {"fields": {"B__c": {"typ": "int"}}}}}, "A__c.B__c: unknown key typ"),
        ({"objects": {"A__c": {"fields": {"B__c": {"type": "number"}}}}}, "A__c.B__c: there is no type number"),
        ({"objects": {"A__c": {"fields": {"B__c": {"length": "9"}}}}}, "A__c.B__c: length cannot be '9'"),
        ({"objects": {"A__c": {"fields": {"B__c": {"length": True}}}}}, "A__c.B__c: length cannot be True"),
        ({"objects": {"A__c": {"fields": {"B__c": {"length": 131_073}}}}}, "A__c.B__c: length is at most 131072"),
        ({"objects": {"A__c": {"fields": {"B__c": {"type": "reference"}}}}}, "A__c.B__c: a reference needs"),
        ({"objects": {"A__c": {"fields": {"B__c": {"restricted": True}}}}}, "A__c.B__c: a restricted picklist needs"),
        ({"objects": {"A__c": {"fields": {'B"__c': {}}}}}, 'A__c.B"__c: a name consists of'),
        (
            {"objects": {"A__c": {"fields": {"B__c": {"type": "reference", "reference_to": ["C__c"]}}}}},
            "A__c.B__c: reference_to names C__c, which is no object",
        ),
    ],
)
def test_a_fault_in_a_schema_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError) as refused:
        build_schema(STANDARD, given)
    assert str(refused.value).startswith(message)


def test_a_fault_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "org.toml"
    for text in ("[objects", ".".join(["a"] * 100_000) + " = 1", "x = " + "[" * 100_000):
        path.write_text(text)
        with pytest.raises(SchemaError) as refused:
            load_schema(path)
        assert str(refused.value).startswith(f"{path}: ")
    path = tmp_path / "org.json"
    path.write_text("[" * 100_000)
    with pytest.raises(SchemaError, match="nested too deeply"):
        load_schema(path)
