"""Ids by another key, found in the local Salesforce in either way, and the list of all Ids."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.runs.exports import QuickControl, make_connection, make_spool
from support.salesforce.emulator_org import csv_of, load

from exporter.emulator.server import Emulator
from exporter.spool.spool import Spool
from exporter.targets.salesforce.api.client import Backoff, Client
from exporter.targets.salesforce.api.describe import describe
from exporter.targets.salesforce.api.query import Queries
from exporter.targets.salesforce.deletion import id_list
from exporter.targets.salesforce.preparation import id_lookup
from exporter.targets.salesforce.preparation.id_lookup import IdLookup, build_lookup

SCHEMA = {
    "objects": {
        "Thing__c": {
            "label": "Thing",
            "fields": {
                "Name": {"type": "string", "length": 80},
                "Code__c": {"type": "string", "length": 255},
                "Number__c": {"type": "double", "precision": 18, "scale": 0},
            },
        }
    }
}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=SCHEMA) as served:
        yield served


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with Client(
        make_connection(emulator.url, client_id="emulator", client_secret=SecretStr("secret")),
        api_version="62.0",
        make_backoff=lambda: Backoff(initial_delay=0, limit=2, spread=random.Random(7)),
        control=QuickControl(),
        listen=lambda _event: None,
    ) as opened:
        yield opened


def fill(emulator: Emulator, codes: list[str]) -> None:
    rows = [[f"thing {number}", code] for number, code in enumerate(codes)]
    load(emulator.org, "insert", csv_of(["Name", "Code__c"], *rows), name="Thing__c")
    assert emulator.org.count("Thing__c") >= len(codes)


def look_up(client: Client, directory: Path, codes: list[str], name: str = "Code__c") -> tuple[Spool, IdLookup]:
    directory.mkdir()
    spool = make_spool(directory / "run-1", [[code] for code in codes], names=[name])
    found = describe(client, "Thing__c")
    manifest = spool.manifest()
    assert found is not None
    assert manifest is not None
    key = found.field(name)
    assert key is not None
    return spool, build_lookup(
        Queries(client, spool.directory), found.name, key, spool, manifest, spool.directory / "ids"
    )


def outcomes(spool: Spool, found: IdLookup) -> list[str | None]:
    manifest = spool.manifest()
    assert manifest is not None
    return [each for batch in manifest.batches for each in found.ids(batch)]


@pytest.mark.parametrize("whole", [False, True], ids=["by-lists-of-keys", "by-reading-all"])
def test_each_key_finds_the_one_record_that_has_it(
    emulator: Emulator, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    odd = ["it's", 'a "quote"', "back\\slash", "two\nlines", "日本語", "plus+and&percent%41", "emoji 🙂", "Mixed Case"]
    fill(emulator, [*odd, "twice", "twice", "thrice", "thrice", "thrice"])
    monkeypatch.setattr(id_lookup, "takes_all", lambda **_: whole)
    asked = [*odd[:-1], "mIXED cASE", "nobody", "twice", "thrice"]
    spool, found = look_up(client, tmp_path / "spools", asked)
    ids = {record["Code__c"]: record["Id"] for record in emulator.org.records("Thing__c")}
    assert outcomes(spool, found) == [*(ids[code] for code in odd), None, None, None]
    manifest = spool.manifest()
    assert manifest is not None
    faults = {number: fault for batch in manifest.batches for number, fault in found.faults(batch).items()}
    assert [(number, fault.code, fault.message) for number, fault in sorted(faults.items())] == [
        (9, "ENTITY_NOT_FOUND", "no record has this Code__c"),
        (10, "DUPLICATE_VALUE", "2 records have this Code__c"),
        (11, "DUPLICATE_VALUE", "3 records have this Code__c"),
    ]


@pytest.mark.parametrize("whole", [False, True], ids=["by-lists-of-keys", "by-reading-all"])
def test_a_number_that_a_double_does_not_hold_is_no_key_and_the_row_says_so(
    emulator: Emulator, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    held = ["7", "999999999999999", "9007199254740993"]
    load(emulator.org, "insert", csv_of(["Name", "Number__c"], *([each, each] for each in held)), name="Thing__c")
    monkeypatch.setattr(id_lookup, "takes_all", lambda **_: whole)
    spool, found = look_up(client, tmp_path / "spools", [*held, "9007199254740992"], "Number__c")
    ids = {record["Name"]: record["Id"] for record in emulator.org.records("Thing__c")}
    assert outcomes(spool, found) == [ids["7"], ids["999999999999999"], None, None]
    manifest = spool.manifest()
    assert manifest is not None
    faults = {number: fault for batch in manifest.batches for number, fault in found.faults(batch).items()}
    told = "Number__c: a number of over 15 digits cannot be looked up. Use a text field or Id"
    assert {(number, fault.code, fault.message) for number, fault in faults.items()} == {
        (3, "NUMBER_OUTSIDE_VALID_RANGE", told),
        (4, "NUMBER_OUTSIDE_VALID_RANGE", told),
    }


def test_a_key_that_no_url_holds_refuses_its_own_row_only(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    fill(emulator, ["there"])
    spool, found = look_up(client, tmp_path / "spools", ["there", "語" * 3999, "x" * 5000])
    (thing,) = emulator.org.records("Thing__c")
    assert outcomes(spool, found) == [thing["Id"], None, None]


def test_what_was_found_is_not_looked_up_again(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    fill(emulator, ["there"])
    spool, found = look_up(client, tmp_path / "spools", ["there"])
    before = outcomes(spool, found)
    with emulator.org.store.writing() as db:
        db.execute('DELETE FROM "Thing__c"')
    manifest, described = spool.manifest(), describe(client, "Thing__c")
    assert manifest is not None
    assert described is not None
    key = described.field("Code__c")
    assert key is not None
    queries = Queries(client, spool.directory)
    again = build_lookup(queries, "Thing__c", key, spool, manifest, spool.directory / "ids")
    assert outcomes(spool, again) == before != [None]


@pytest.mark.parametrize("bulk_from", [1, 10_000], ids=["bulk-query", "pages"])
def test_all_ids_are_listed_once_and_only_once(
    emulator: Emulator, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, bulk_from: int
) -> None:
    fill(emulator, [f"c{number}" for number in range(4_500)])
    monkeypatch.setattr(id_list, "BULK_FROM", bulk_from)
    spool = Spool(tmp_path / "run-1-deleted")
    listed = id_list.collect_ids(Queries(client, tmp_path), "Thing__c", spool, batch_rows=2_000)
    ids = [line.strip('"') for each in listed.batches for line in spool.read(each).decode().splitlines()[1:]]
    assert sorted(ids) == sorted(record["Id"] for record in emulator.org.records("Thing__c"))
    assert [each.rows for each in listed.batches] == [2_000, 2_000, 500]
    fill(emulator, ["later"])
    assert id_list.collect_ids(Queries(client, tmp_path), "Thing__c", spool).rows == 4_500
