"""simple-salesforce, a client that nobody here wrote, against the emulator."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import (
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
)
from support.salesforce.emulator_schema import AIRPORT

from exporter.emulator.server import Emulator


class _PlainSession(requests.Session):
    """simple-salesforce writes https into every address; the emulator speaks http."""

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        return super().request(method, str(url).replace("https://", "http://", 1), *args, **kwargs)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    monkeypatch.setattr("simple_salesforce.bulk2.sleep", lambda _seconds: time.sleep(0.02))
    monkeypatch.setattr("simple_salesforce.bulk.sleep", lambda _seconds: time.sleep(0.02))  # it polls each 5 s
    with Emulator(schema=AIRPORT) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Salesforce]:
    with _PlainSession() as session:
        form = {"grant_type": "client_credentials", "client_id": "emulator", "client_secret": "secret"}
        answer = session.post(f"{emulator.url}/services/oauth2/token", data=form, timeout=10).json()
        token, address = answer["access_token"], answer["instance_url"]
        yield Salesforce(instance_url=address, session_id=token, session=session, version="60.0")


def test_it_describes_the_org_and_its_objects(client: Salesforce) -> None:
    names = [each["name"] for each in client.describe()["sobjects"]]
    assert {"Account", "Contact", "Lead", "Opportunity", "User", "Airport__c"} <= set(names)
    fields = {field["name"]: field for field in client.restful("sobjects/Airport__c/describe")["fields"]}
    assert fields["Ext__c"]["externalId"] is fields["Ext__c"]["unique"] is fields["Ext__c"]["idLookup"] is True
    assert fields["Ext__c"]["nillable"] is False
    assert fields["Code__c"]["caseSensitive"] is True
    assert (fields["Elevation__c"]["precision"], fields["Elevation__c"]["scale"]) == (8, 1)
    assert [value["value"] for value in fields["Kind__c"]["picklistValues"]] == ["small", "large"]
    assert fields["City__c"]["referenceTo"] == ["Account"]
    assert fields["City__c"]["relationshipName"] == "City__r"
    assert fields["Open__c"]["defaultedOnCreate"] is True
    assert fields["CreatedDate"]["createable"] is False


def test_records_are_created_read_changed_upserted_and_deleted_one_by_one(client: Salesforce) -> None:
    made = client.Account.create({"Name": "Acme", "NumberOfEmployees": 7, "AnnualRevenue": 12.5})
    assert made["success"] is True
    client.Account.update(made["id"], {"Name": "Acme & Co", "NumberOfEmployees": None})
    found = client.Account.get(made["id"])
    assert (found["Name"], found["NumberOfEmployees"], found["AnnualRevenue"]) == ("Acme & Co", None, 13.0)
    assert client.Airport__c.upsert("Ext__c/ä-b", {"Name": "new"}) == 201
    assert client.Airport__c.upsert("Ext__c/ä-b", {"Name": "old"}) == 200
    assert client.Airport__c.get_by_custom_id("Ext__c", "ä-b")["Name"] == "old"
    client.Account.delete(made["id"])
    with pytest.raises(SalesforceResourceNotFound):
        client.Account.get(made["id"])


def test_a_refused_record_says_why(client: Salesforce) -> None:
    with pytest.raises(SalesforceMalformedRequest) as refused:
        client.Contact.create({"FirstName": "No last name"})
    assert refused.value.content == [
        {
            "message": "Required fields are missing: [LastName]",
            "errorCode": "REQUIRED_FIELD_MISSING",
            "fields": ["LastName"],
        }
    ]


def test_queries_come_in_pages_that_stay_what_they_were(client: Salesforce, emulator: Emulator) -> None:
    rows = [{"Ext__c": f"k{number}", "Runways__c": number} for number in range(4100)]
    client.bulk.Airport__c.insert(rows, batch_size=2050)
    first = client.query("SELECT Id, Runways__c FROM Airport__c ORDER BY Runways__c")
    assert (first["totalSize"], first["done"], len(first["records"])) == (4100, False, 2000)
    client.bulk.Airport__c.delete([{"Id": record["Id"]} for record in first["records"][:10]])
    rest = client.query_more(first["nextRecordsUrl"].rpartition("/")[2])
    last = client.query_more(rest["nextRecordsUrl"].rpartition("/")[2])
    numbers = [int(each["Runways__c"]) for page in (first, rest, last) for each in page["records"]]
    assert numbers == list(range(4100))
    assert last["done"] is True
    assert client.query("SELECT COUNT() FROM Airport__c")["totalSize"] == emulator.org.count("Airport__c") == 4090
    everything = client.query("SELECT COUNT() FROM Airport__c", include_deleted=True)
    assert everything["totalSize"] == 4100


def test_bulk_1_inserts_upserts_updates_and_deletes_json_batches(client: Salesforce, emulator: Emulator) -> None:
    inserted: list[dict[str, Any]] = client.bulk.Airport__c.insert(
        [
            {"Ext__c": "A", "Name": "Zürich", "Elevation__c": 432.04, "Open__c": True, "Kind__c": None},
            {"Ext__c": "B", "Kind__c": "huge", "Contact__c": "not an address"},
            {"Name": "no key"},
        ],
        use_serial=True,
    )
    assert [each["success"] for each in inserted] == [True, False, False]
    assert inserted[1]["errors"][0]["statusCode"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert inserted[2]["errors"][0]["fields"] == ["Ext__c"]
    upserted = client.bulk.Airport__c.upsert([{"Ext__c": "a", "Name": "ZRH"}, {"Ext__c": "C"}], "Ext__c")
    assert [(each["created"], each["id"] == inserted[0]["id"]) for each in upserted] == [(False, True), (True, False)]
    client.bulk.Airport__c.update([{"Id": upserted[1]["id"], "Runways__c": 3}])
    client.bulk.Airport__c.hard_delete([{"Id": inserted[0]["id"]}])
    [left] = emulator.org.records("Airport__c")
    assert (left["Ext__c"], left["Runways__c"], left["Name"]) == ("C", 3, upserted[1]["id"])
    assert emulator.org.count("Airport__c", deleted=True) == 0


def test_bulk_1_says_that_a_column_is_unknown(client: Salesforce) -> None:
    with pytest.raises(SalesforceMalformedRequest) as refused:
        client.bulk.Airport__c.insert([{"Ext__c": "A", "Nowhere__c": 1}])
    assert refused.value.content == {"exceptionCode": "InvalidBatch", "exceptionMessage": "Records not processed"}


def test_an_ended_session_is_401_here_and_400_in_bulk_1(client: Salesforce, emulator: Emulator) -> None:
    emulator.org.expire_sessions()
    with pytest.raises(SalesforceExpiredSession):
        client.describe()
    with pytest.raises(SalesforceMalformedRequest) as refused:
        client.bulk.Airport__c.insert([{"Ext__c": "A"}])
    assert refused.value.content["exceptionCode"] == "InvalidSessionId"


def test_limits_count_calls_and_batches(client: Salesforce) -> None:
    before = client.limits()
    client.bulk.Airport__c.insert([{"Ext__c": "A"}])
    after = client.limits()
    assert before["DailyBulkApiBatches"]["Remaining"] - after["DailyBulkApiBatches"]["Remaining"] == 1
    assert before["DailyApiRequests"]["Remaining"] > after["DailyApiRequests"]["Remaining"]


def test_bulk_1_queries_in_json(client: Salesforce) -> None:
    client.bulk.Account.insert([{"Name": f"Account {number}"} for number in range(3)])
    [made] = client.bulk.Account.query_all("SELECT Id FROM Account WHERE Name = 'Account 1'")
    client.bulk.Account.delete([{"Id": made["Id"]}])
    found = client.bulk.Account.query("SELECT Name, Owner.Name FROM Account ORDER BY Name DESC")
    assert [(each["Name"], each["Owner"]["Name"]) for each in found] == [
        ("Account 2", "Integration User"),
        ("Account 0", "Integration User"),
    ]


def test_bulk_2_inserts_upserts_queries_and_deletes(client: Salesforce, emulator: Emulator, tmp_path: Path) -> None:
    rows = [{"Ext__c": f"k{number}", "Name": f"Zürich, {number}", "Runways__c": str(number)} for number in range(3)]
    rows.append({"Ext__c": "bad", "Name": "", "Runways__c": "many"})
    [done] = client.bulk2.Airport__c.insert(records=rows)
    assert (done["numberRecordsProcessed"], done["numberRecordsFailed"]) == (4, 1)
    failed = client.bulk2.Airport__c.get_failed_records(done["job_id"])
    assert failed.splitlines()[0].startswith('"sf__Id","sf__Error",')
    assert "is not a valid value for the type xsd:int:Runways__c --" in failed
    successful = client.bulk2.Airport__c.get_successful_records(done["job_id"])
    assert len(successful.splitlines()) == 4

    path = tmp_path / "rows.csv"
    path.write_text("Ext__c;Name\r\nk0;ZRH\r\nk9;new\r\n", newline="")
    [done] = client.bulk2.Airport__c.upsert(
        str(path), external_id_field="Ext__c", column_delimiter="SEMICOLON", line_ending="CRLF"
    )
    assert (done["numberRecordsProcessed"], done["numberRecordsFailed"]) == (2, 0)

    [page, rest] = client.bulk2.Airport__c.query("SELECT Id, Name, Open__c FROM Airport__c", max_records=3)
    assert page.splitlines()[0] == '"Id","Name","Open__c"'
    assert [len(each.splitlines()) for each in (page, rest)] == [4, 2]
    assert page.splitlines()[1].endswith(',"ZRH","false"')
    first = page.splitlines()[1].split(",")[0].strip('"')
    client.bulk2.Airport__c.hard_delete(records=[{"Id": first}])
    assert emulator.org.count("Airport__c") == 3
