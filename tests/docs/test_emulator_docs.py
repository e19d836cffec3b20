"""What docs/emulator.md says of the emulator, against the emulator."""

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

from exporter.emulator.fault_injection import read_fault
from exporter.emulator.org.org import Rights
from exporter.emulator.org.schema import Field, build_schema
from exporter.emulator.org.standard_objects import STANDARD
from exporter.emulator.server import Emulator

_PAGE = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


def test_the_schema_on_the_page_is_one() -> None:
    [text] = _blocks("toml")
    schema = build_schema(STANDARD, tomllib.loads(text))
    airport = schema.find("Airport__c")
    assert airport is not None
    assert airport.label == "Airport"
    assert set(STANDARD["objects"]) == set(
        re.findall(r"[A-Z]\w+", _PAGE.split("## What is in the org")[1].split(" with ")[0])
    )


def test_the_faults_on_the_page_can_be_asked_for() -> None:
    kinds = [type(read_fault(json.loads(text))).__name__ for text in _blocks("json")]
    assert kinds == ["CallFault", "RowFault"]


def test_the_page_names_every_key_of_a_field() -> None:
    told = _PAGE.split("A field's keys:")[1].split("An object's:")[0]
    keys = set(re.findall(r"`(\w+)`", told))
    assert keys == set(Field.__dataclass_fields__) - {"name", "formula"}


def test_the_page_names_every_right_with_its_default() -> None:
    told = _PAGE.split("Rights, with their defaults:")[1].split("\n\n")[0]
    given = dict(re.findall(r"`(\w+)`\s\(([^,:)]+)", told))
    assert given == {each.name: str(each.default).lower().removesuffix(".0") or "none" for each in fields(Rights)}


def test_the_page_names_every_path() -> None:
    named = set(re.findall(r"[/…]([\w{}]+)(?=[`/ ,;])", _PAGE))
    with Emulator() as emulator:
        paths = [route.path for route in emulator.gate.routes]
    segments = {segment for path in paths for segment in path.split("/") if segment and not segment.startswith("v{")}
    assert segments - named - {"services", "_emulator"} == set()
