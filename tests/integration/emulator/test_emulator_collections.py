"""sObject collections of the local Salesforce: many records in one call, results in their order, all or none."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.salesforce.emulator_schema import AIRPORT

from exporter.emulator.server import Emulator


class Client:
    """A logged-in client of the REST API."""

    def __init__(self, emulator: Emulator) -> None:
        self._url = emulator.url
        form = {"grant_type": "client_credentials", "client_id": "emulator", "client_secret": "secret"}
        answer = requests.post(f"{emulator.url}/services/oauth2/token", data=form, timeout=10).json()
        self._headers = {"Authorization": f"Bearer {answer['access_token']}"}

    def __call__(self, method: str, path: str = "", *, version: str = "60.0", **given: Any) -> requests.Response:
        url = f"{self._url}/services/data/v{version}/composite/sobjects{path}"
        return requests.request(method, url, headers=self._headers, timeout=10, **given)

    def send(self, method: str, records: list[dict[str, Any]], path: str = "", *, together: bool = False) -> Any:
        answer = self(method, path, json={"allOrNone": together, "records": records})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=AIRPORT) as served:
        yield served


@pytest.fixture
def client(emulator: Emulator) -> Client:
    return Client(emulator)


def account(**fields: object) -> dict[str, Any]:
    return {"attributes": {"type": "Account"}, **fields}


def contact(**fields: object) -> dict[str, Any]:
    return {"attributes": {"type": "Contact"}, **fields}


def airport(**fields: object) -> dict[str, Any]:
    return {"attributes": {"type": "Airport__c"}, **fields}


def test_records_of_several_objects_are_made_in_one_call_with_results_in_their_order(
    emulator: Emulator, client: Client
) -> None:
    found = client.send("POST", [account(Name="a"), contact(LastName="b"), contact(FirstName="c"), account(Name="d")])
    assert [each["success"] for each in found] == [True, True, False, True]
    assert [each["id"][:3] for each in found if each["success"]] == ["001", "003", "001"]
    [error] = found[2]["errors"]
    assert (error["statusCode"], error["fields"]) == ("REQUIRED_FIELD_MISSING", ["LastName"])
    assert [each["Name"] for each in emulator.org.records("Account")] == ["a", "d"]
    assert emulator.org.count("Contact") == 1


def test_all_or_none_undoes_what_was_valid(emulator: Emulator, client: Client) -> None:
    found = client.send("POST", [account(Name="a"), contact(FirstName="b")], together=True)
    assert [each["errors"][0]["statusCode"] for each in found] == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "REQUIRED_FIELD_MISSING",
    ]
    assert not any("id" in each for each in found)
    assert emulator.org.count("Account") == 0
    assert client.send("POST", [account(Name="a")], together=True)[0]["success"] is True


def test_an_update_sets_what_it_names_and_leaves_the_rest(emulator: Emulator, client: Client) -> None:
    one, two = (each["id"] for each in client.send("POST", [account(Name="a", Phone="1"), account(Name="b")]))
    found = client.send("PATCH", [account(id=one, Name="A"), account(Id=two, Phone="2"), account(id=one, Phone=None)])
    assert [each["success"] for each in found] == [True, True, True]
    assert [(each["Name"], each["Phone"]) for each in emulator.org.records("Account")] == [("A", None), ("b", "2")]


def test_an_upsert_says_what_is_new(emulator: Emulator, client: Client) -> None:
    client.send("PATCH", [airport(Ext__c="x", Elevation__c=1.25)], "/Airport__c/Ext__c")
    found = client.send("PATCH", [airport(Ext__c="X", Runways__c=2), airport(Ext__c="y")], "/Airport__c/Ext__c")
    assert [each["created"] for each in found] == [False, True]
    stored = [(each["Ext__c"], each["Elevation__c"], each["Runways__c"]) for each in emulator.org.records("Airport__c")]
    assert stored == [("x", 1.3, 2), ("y", None, None)]


def test_records_are_deleted_by_their_ids_whatever_they_are_of(emulator: Emulator, client: Client) -> None:
    ids = [each["id"] for each in client.send("POST", [account(Name="a"), contact(LastName="b")])]
    found = client("DELETE", params={"ids": ",".join([*ids, ids[0]]), "allOrNone": "false"}).json()
    assert [each["success"] for each in found] == [True, True, False]
    assert found[2]["errors"][0]["statusCode"] == "ENTITY_IS_DELETED"
    assert (emulator.org.count("Account"), emulator.org.count("Account", deleted=True)) == (0, 1)


def test_a_delete_of_all_or_none_puts_back(emulator: Emulator, client: Client) -> None:
    [made] = client.send("POST", [account(Name="a")])
    found = client("DELETE", params={"ids": f"{made['id']},{made['id']}", "allOrNone": "true"}).json()
    assert [each["success"] for each in found] == [False, False]
    assert emulator.org.count("Account") == 1


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ([account(Name="a", Nope="b")], "INVALID_FIELD"),
        ([account(Name="a", Parent={"Nope__c": "b"})], "INVALID_FIELD"),
        ([{"attributes": {"type": "Nope"}}], "INVALID_TYPE"),
        ([{"Name": "a"}], "INVALID_TYPE"),
        ([account(Name="a")] * 201, "EXCEEDED_ID_LIMIT"),
        ([1], "JSON_PARSER_ERROR"),
        (None, "JSON_PARSER_ERROR"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_whole(
    emulator: Emulator, client: Client, records: object, code: str
) -> None:
    answer = client("POST", json={"records": records})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert emulator.org.count("Account") == 0


@pytest.mark.parametrize("path", ["/Nope/Id", "/Airport__c/Nope", "/Airport__c/Elevation__c"])
def test_an_upsert_needs_an_object_and_a_key_that_there_are(client: Client, path: str) -> None:
    assert client("PATCH", path, json={"records": [airport(Ext__c="x")]}).status_code == 404


def test_an_upsert_takes_records_of_its_object_only(client: Client) -> None:
    answer = client("PATCH", "/Airport__c/Ext__c", json={"records": [account(Name="a")]})
    assert answer.json()[0]["errorCode"] == "INVALID_TYPE"


@pytest.mark.parametrize("ids", ["x", "zzz000000000000AAA", "001000000000000AAB"])
def test_a_delete_refuses_ids_that_cannot_be(client: Client, ids: str) -> None:
    answer = client("DELETE", params={"ids": ids})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "MALFORMED_ID")


def test_a_delete_of_what_there_never_was_is_refused_by_itself(client: Client) -> None:
    [found] = client("DELETE", params={"ids": "001000000000000"}).json()
    assert found["errors"][0]["statusCode"] == "INVALID_CROSS_REFERENCE_KEY"


def test_collections_begin_with_the_versions_that_brought_them(client: Client) -> None:
    body = {"records": [account(Name="a")]}
    assert client("POST", json=body, version="41.0").status_code == 404
    assert client("POST", json=body, version="42.0").status_code == 200
    upsert = {"records": [airport(Ext__c="x")]}
    assert client("PATCH", "/Airport__c/Ext__c", json=upsert, version="45.0").status_code == 404
    assert client("PATCH", "/Airport__c/Ext__c", json=upsert, version="46.0").status_code == 200
