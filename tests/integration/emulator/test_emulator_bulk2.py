"""Bulk API 2.0 of the emulator, call by call."""

import csv
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.salesforce.emulator_http import Caller, calling
from support.salesforce.emulator_schema import AIRPORT

from exporter.emulator.fault_injection import RowFault
from exporter.emulator.org.org import Rights
from exporter.emulator.server import Emulator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=AIRPORT) as running:
        yield running


@pytest.fixture
def caller(emulator: Emulator) -> Iterator[Caller]:
    with calling(emulator) as client:
        yield client


def _create(caller: Caller, **fields: str) -> dict[str, Any]:
    given = {"operation": "insert", "object": "Airport__c", "contentType": "CSV"} | fields
    answer = caller.rest("POST", "jobs/ingest", json=given)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _upload(caller: Caller, job: str, content: bytes) -> requests.Response:
    return caller.rest("PUT", f"jobs/ingest/{job}/batches", data=content, headers={"Content-Type": "text/csv"})


def _set_state(caller: Caller, job: str, state: str) -> requests.Response:
    return caller.rest("PATCH", f"jobs/ingest/{job}", json={"state": state})


def _finish(caller: Caller, job: str, kind: str = "ingest") -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = caller.rest("GET", f"jobs/{kind}/{job}").json()
        if found["state"] in {"JobComplete", "Failed", "Aborted"}:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def _lines(caller: Caller, job: str, name: str, delimiter: str = ",") -> list[list[str]]:
    answer = caller.rest("GET", f"jobs/ingest/{job}/{name}")
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.content.decode(), newline=""), delimiter=delimiter))


def _refusal(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()[0]["errorCode"]


def test_nothing_is_processed_before_the_upload_is_complete(caller: Caller, emulator: Emulator) -> None:
    job = _create(caller, operation="upsert", externalIdFieldName="ext__c")
    assert {key: job[key] for key in ("state", "externalIdFieldName", "concurrencyMode", "lineEnding", "jobType")} == {
        "state": "Open",
        "externalIdFieldName": "Ext__c",
        "concurrencyMode": "Parallel",
        "lineEnding": "LF",
        "jobType": "V2Ingest",
    }
    assert job["contentUrl"] == f"services/data/v60.0/jobs/ingest/{job['id']}/batches"
    done = _upload(caller, job["id"], b'Ext__c,Name\nA,"a\nb"\nB,\n')
    assert (done.status_code, done.content) == (201, b"")
    assert _refusal(_upload(caller, job["id"], b"Ext__c\nC\n")) == (400, "BULK_API_ERROR")
    assert _refusal(caller.rest("GET", f"jobs/ingest/{job['id']}/failedResults")) == (400, "INVALIDJOBSTATE")
    assert emulator.org.count("Airport__c") == 0
    assert _set_state(caller, job["id"], "UploadComplete").json()["state"] == "UploadComplete"
    info = _finish(caller, job["id"])
    assert (info["state"], info["numberRecordsProcessed"], info["numberRecordsFailed"]) == ("JobComplete", 2, 0)
    header, *rows = _lines(caller, job["id"], "successfulResults")
    assert header == ["sf__Id", "sf__Created", "Ext__c", "Name"]
    assert sorted(row[1:] for row in rows) == [["true", "A", "a\nb"], ["true", "B", ""]]
    assert _lines(caller, job["id"], "failedResults") == [["sf__Id", "sf__Error", "Ext__c", "Name"]]
    assert _lines(caller, job["id"], "unprocessedrecords") == [["Ext__c", "Name"]]
    assert _refusal(_set_state(caller, job["id"], "UploadComplete")) == (400, "INVALIDJOBSTATE")
    assert caller.rest("DELETE", f"jobs/ingest/{job['id']}").status_code == 204
    assert _refusal(caller.rest("GET", f"jobs/ingest/{job['id']}")) == (404, "NOT_FOUND")


def test_an_upload_of_many_rows_is_split_and_its_results_come_in_no_order(caller: Caller, emulator: Emulator) -> None:
    job = _create(caller)["id"]
    keys = [f"k{number}" for number in range(20_500)]
    keys[5] = ""
    _upload(caller, job, "\n".join(["Ext__c", *(f'"{key}"' for key in keys)]).encode())
    _set_state(caller, job, "UploadComplete")
    info = _finish(caller, job)
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (20_500, 1)
    rows = _lines(caller, job, "successfulResults")[1:]
    found = [key for _, _, key in rows]
    assert sorted(found) == sorted(key for key in keys if key)
    assert found != [key for key in keys if key]
    ids = {record["Ext__c"]: record["Id"] for record in emulator.org.records("Airport__c")}
    assert all(ids[key] == record for record, _, key in rows)
    assert _lines(caller, job, "failedResults")[1:] == [
        ["", "REQUIRED_FIELD_MISSING:Required fields are missing: [Ext__c]:Ext__c --", ""]
    ]


def test_delimiter_and_line_ending_are_the_job_s_both_ways(caller: Caller) -> None:
    job = _create(caller, columnDelimiter="PIPE", lineEnding="CRLF")["id"]
    _upload(caller, job, b"Ext__c|Name\r\nA|x,y\r\n")
    _set_state(caller, job, "UploadComplete")
    _finish(caller, job)
    content = caller.rest("GET", f"jobs/ingest/{job}/successfulResults").content
    assert content.endswith(b'|"true"|"A"|"x,y"\r\n')


@pytest.mark.parametrize(
    ("settings", "content", "message"),
    [
        ({}, b"Ext__c,Nowhere__c\na,b\n", "InvalidBatch : Field name not found : Nowhere__c"),
        ({}, b"Ext__c\r\na\r\n", "ClientInputError : LineEnding is invalid on user data."),
        ({"lineEnding": "CRLF"}, b"Ext__c\na\n", "ClientInputError : LineEnding is invalid on user data."),
        ({"columnDelimiter": "TAB"}, b"Ext__c,Name\na,b\n", "InvalidBatch : Field name not found : Ext__c,Name"),
        ({}, b"", "InvalidBatch : The upload is empty"),
        ({}, b'Ext__c\n"a', "InvalidBatch : Failed to parse CSV"),
        ({}, b"Ext__c\n\xff", "ClientInputError : The upload is not valid UTF-8"),
    ],
)
def test_an_upload_that_cannot_be_read_fails_the_job_with_nothing_processed(
    caller: Caller, emulator: Emulator, settings: dict[str, str], content: bytes, message: str
) -> None:
    job = _create(caller, **settings)["id"]
    _upload(caller, job, content)
    _set_state(caller, job, "UploadComplete")
    info = _finish(caller, job)
    assert info["state"] == "Failed"
    assert info["errorMessage"].startswith(message)
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (0, 0)
    assert emulator.org.count("Airport__c") == 0
    assert len(_lines(caller, job, "successfulResults")) == 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"operation": "Insert"}, 400, "INVALIDJOB"),
        ({"object": "Nothing__c"}, 400, "INVALIDJOB"),
        ({"operation": "upsert"}, 400, "INVALIDJOB"),
        ({"operation": "upsert", "externalIdFieldName": "Name"}, 400, "INVALIDJOB"),
        ({"contentType": "JSON"}, 400, "INVALIDJOB"),
        ({"columnDelimiter": "COLON"}, 400, "INVALIDJOB"),
        ({"operation": "hardDelete"}, 400, "FEATURENOTENABLED"),
    ],
)
def test_a_job_that_cannot_be_is_refused(fields: dict[str, str], status: int, code: str) -> None:
    given = {"operation": "insert", "object": "Airport__c"} | fields
    with Emulator(schema=AIRPORT, rights=Rights(hard_delete=False)) as emulator, calling(emulator) as caller:
        assert _refusal(caller.rest("POST", "jobs/ingest", json=given)) == (status, code)


def test_versions_before_41_have_no_bulk_api_2(caller: Caller) -> None:
    given = {"operation": "insert", "object": "Airport__c"}
    caller.version = "40.0"
    assert _refusal(caller.rest("POST", "jobs/ingest", json=given)) == (404, "NOT_FOUND")
    caller.version = "41.0"
    assert caller.rest("POST", "jobs/ingest", json=given).status_code == 200
    assert _refusal(caller.rest("POST", "jobs/ingest", data=b"[]")) == (400, "JSON_PARSER_ERROR")


def test_an_aborted_job_tells_which_rows_were_left(caller: Caller, emulator: Emulator) -> None:
    emulator.gate.worker.pause(paused=True)
    job = _create(caller)["id"]
    _upload(caller, job, b"Ext__c\nA\nB\n")
    _set_state(caller, job, "UploadComplete")
    assert _set_state(caller, job, "Aborted").json()["state"] == "Aborted"
    emulator.gate.worker.pause(paused=False)
    assert _lines(caller, job, "unprocessedrecords") == [["Ext__c"], ["A"], ["B"]]
    assert emulator.org.count("Airport__c") == 0
    empty = _create(caller)["id"]
    assert _set_state(caller, empty, "UploadComplete").json()["state"] == "JobComplete"


def test_a_part_that_fails_fails_the_job_and_its_rows_are_left(caller: Caller, emulator: Emulator) -> None:
    emulator.faults.add(RowFault(object="Airport__c", batch_message="InternalServerError : Something went wrong"))
    job = _create(caller)["id"]
    _upload(caller, job, "\n".join(["Ext__c", *(f"k{number}" for number in range(10_001))]).encode())
    _set_state(caller, job, "UploadComplete")
    assert _finish(caller, job)["errorMessage"] == "InternalServerError : Something went wrong"
    deadline = time.monotonic() + 30
    while len(_lines(caller, job, "successfulResults")) < 2:
        assert time.monotonic() < deadline
    left = len(_lines(caller, job, "unprocessedrecords")) - 1
    assert left in {1, 10_000}  # parts go in no order
    assert emulator.org.count("Airport__c") == 10_001 - left


def test_a_bulk_query_comes_in_pages_as_long_as_asked(caller: Caller) -> None:
    job = _create(caller, object="Account")["id"]
    _upload(caller, job, "\n".join(["Name", *(f"Account {number}" for number in range(250))]).encode())
    _set_state(caller, job, "UploadComplete")
    _finish(caller, job)
    query = {"operation": "query", "query": "SELECT Name, IsDeleted, CreatedDate FROM Account"}
    made = caller.rest("POST", "jobs/query", json=query).json()
    assert (made["object"], made["jobType"]) == ("Account", "V2Query")
    assert _finish(caller, made["id"], "query")["numberRecordsProcessed"] == 250
    names: list[str] = []
    locator = "0-0"
    while locator != "null":
        parameters: dict[str, str | int] = {"maxRecords": 100, "locator": locator}
        page = caller.rest("GET", f"jobs/query/{made['id']}/results", params=parameters)
        header, *rows = list(csv.reader(io.StringIO(page.text, newline="")))
        assert header == ["Name", "IsDeleted", "CreatedDate"]
        assert page.headers["Sforce-NumberOfRecords"] == str(len(rows))
        names += [row[0] for row in rows]
        assert {row[1] for row in rows} == {"false"}
        assert all(row[2].endswith("Z") for row in rows)
        locator = page.headers["Sforce-Locator"]
    assert names == [f"Account {number}" for number in range(250)]
    assert _refusal(caller.rest("GET", f"jobs/query/{made['id']}/results?locator=9-0")) == (
        400,
        "INVALID_QUERY_LOCATOR",
    )
    assert caller.rest("DELETE", f"jobs/query/{made['id']}").status_code == 204


@pytest.mark.parametrize("text", ["", "SELECT", "SELECT COUNT() FROM Account", "SELECT MAX(Name) FROM Account"])
def test_a_bulk_query_that_cannot_be_is_refused(caller: Caller, text: str) -> None:
    answer = caller.rest("POST", "jobs/query", data=json.dumps({"operation": "query", "query": text}))
    assert _refusal(answer) == (400, "API_ERROR")
