"""Bulk API 1.0 of the emulator, call by call."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from support.salesforce.emulator_http import Caller, calling, job_info, tag
from support.salesforce.emulator_schema import AIRPORT

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


def _refusal(answer: object) -> tuple[int, str, str]:
    status = answer.status_code  # type: ignore[attr-defined] # a requests.Response
    return status, tag(answer, "exceptionCode"), tag(answer, "exceptionMessage")  # type: ignore[arg-type] # the same


def test_a_job_and_its_batch_go_through_their_states(caller: Caller) -> None:
    created = caller.bulk(
        "POST", "job", job_info(operation="upsert", object="airport__C", externalIdFieldName="ext__c")
    )
    assert (created.status_code, created.headers["Content-Type"]) == (201, "application/xml;charset=UTF-8")
    assert [tag(created, name) for name in ("object", "externalIdFieldName", "concurrencyMode", "contentType")] == [
        "Airport__c",
        "Ext__c",
        "Parallel",
        "CSV",
    ]
    job = tag(created, "id")
    content = 'Ext__c,Name\r\n"ä","a\r\nb"\r\n,x\r\n'.encode()
    added = caller.bulk("POST", f"job/{job}/batch", content, "text/csv")
    assert (added.status_code, tag(added, "state"), tag(added, "jobId")) == (201, "Queued", job)
    batch = tag(added, "id")
    assert caller.finish(job, batch) == "Completed"
    info = caller.bulk("GET", f"job/{job}/batch/{batch}")
    assert (tag(info, "numberRecordsProcessed"), tag(info, "numberRecordsFailed")) == ("2", "1")
    result = caller.bulk("GET", f"job/{job}/batch/{batch}/result")
    assert result.headers["Content-Type"] == "text/csv"
    header, first, second, end = result.text.split("\n")
    assert header == '"Id","Success","Created","Error"'
    assert first.startswith('"a00')
    assert first.endswith('","true","true",""')
    assert second == '"","false","false","MISSING_ARGUMENT:Ext__c not specified:--"'
    assert end == ""
    assert caller.bulk("GET", f"job/{job}/batch/{batch}/request").content == content
    shown = caller.bulk("GET", f"job/{job}")
    assert [tag(shown, f"numberBatches{name}") for name in ("Queued", "InProgress", "Completed", "Total")] == [
        "0",
        "0",
        "1",
        "1",
    ]
    assert tag(caller.bulk("POST", f"job/{job}", job_info(state="Closed")), "state") == "Closed"
    assert _refusal(caller.bulk("POST", f"job/{job}/batch", content, "text/csv"))[:2] == (400, "InvalidJobState")
    assert _refusal(caller.bulk("POST", f"job/{job}", job_info(state="Closed")))[:2] == (400, "InvalidJobState")


def test_json_and_xml_jobs_answer_in_kind(caller: Caller) -> None:
    body = '{"operation": "insert", "object": "Airport__c", "contentType": "JSON", "concurrencyMode": 1}'
    created = caller.bulk("POST", "job", body, "application/json").json()
    assert (created["concurrencyMode"], created["state"], created["apiVersion"]) == ("Serial", "Open", 60.0)
    job = created["id"]
    added = caller.bulk("POST", f"job/{job}/batch", '[{"Ext__c": "1"}, {"Runways__c": "x"}]', "application/json").json()
    caller.session.headers["Accept"] = "application/json"
    batch = added["id"]
    while caller.bulk("GET", f"job/{job}/batch/{batch}").json()["state"] != "Completed":
        pass
    good, bad = caller.bulk("GET", f"job/{job}/batch/{batch}/result").json()
    assert (good["success"], good["created"], good["errors"]) == (True, True, [])
    assert (bad["success"], bad["id"], bad["errors"][0]["statusCode"]) == (False, None, "INVALID_FIELD")
    assert bad["errors"][0]["fields"] == ["Runways__c"]
    assert [each["id"] for each in caller.bulk("GET", f"job/{job}/batch").json()["batchInfo"]] == [batch]
    del caller.session.headers["Accept"]

    job = caller.open_job(contentType="XML")
    content = b"<sObjects><sObject><Ext__c>2</Ext__c></sObject><sObject><Name>x</Name></sObject></sObjects>"
    batch = caller.add(job, content, "application/xml")
    result = caller.result(job, batch)
    assert tag(result, "success") == "true"
    assert tag(result, "statusCode") == "REQUIRED_FIELD_MISSING"
    assert tag(result, "fields") == "Ext__c"


def test_an_unknown_column_fails_the_batch_and_its_result_says_only_that(caller: Caller) -> None:
    job = caller.open_job()
    batch = caller.add(job, b"Ext__c,Nowhere__c\n1,2\n")
    assert caller.finish(job, batch) == "Failed"
    info = caller.bulk("GET", f"job/{job}/batch/{batch}")
    assert tag(info, "stateMessage") == "InvalidBatch : Field name not found : Nowhere__c"
    assert tag(info, "numberRecordsProcessed") == "0"
    result = caller.bulk("GET", f"job/{job}/batch/{batch}/result")
    assert _refusal(result) == (400, "InvalidBatch", "Records not processed")


def test_an_aborted_job_leaves_what_waits_unprocessed(caller: Caller, emulator: Emulator) -> None:
    emulator.gate.worker.pause(paused=True)
    job = caller.open_job()
    batch = caller.add(job, b"Ext__c\n1\n")
    assert caller.state(job, batch) == "Queued"
    early = caller.bulk("GET", f"job/{job}/batch/{batch}/result")
    assert _refusal(early) == (400, "InvalidBatch", "Batch not completed")
    assert tag(caller.bulk("POST", f"job/{job}", job_info(state="Aborted")), "state") == "Aborted"
    assert caller.state(job, batch) == "NotProcessed"
    emulator.gate.worker.pause(paused=False)
    other = caller.open_job()
    assert caller.finish(other, caller.add(other, b"Ext__c\n2\n")) == "Completed"
    assert [record["Ext__c"] for record in emulator.org.records("Airport__c")] == ["2"]


@pytest.mark.parametrize(("mode", "at_once"), [("Serial", 1), ("Parallel", 2)])
def test_batches_of_a_serial_job_go_one_after_the_other(mode: str, at_once: int) -> None:
    with Emulator(schema=AIRPORT, batch_seconds=0.15) as emulator, calling(emulator) as caller:
        job = caller.open_job(concurrencyMode=mode)
        batches = [caller.add(job, f"Ext__c\n{number}\n".encode()) for number in range(4)]
        most = 0
        while (shown := caller.bulk("GET", f"job/{job}")) and tag(shown, "numberBatchesCompleted") != "4":
            most = max(most, int(tag(shown, "numberBatchesInProgress")))
        assert most == at_once
        assert [caller.state(job, batch) for batch in batches] == ["Completed"] * 4
        if mode == "Serial":
            assert [record["Ext__c"] for record in emulator.org.records("Airport__c")] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"operation": "Insert", "object": "Account"}, "InvalidJob", "Invalid operation: Insert"),
        ({"operation": "insert", "object": "Nothing__c"}, "InvalidJob", "Unable to find object: Nothing__c"),
        ({"operation": "upsert", "object": "Account"}, "InvalidJob", "External ID field is required for upsert"),
        (
            {"operation": "insert", "object": "Account", "externalIdFieldName": "Ext_Id__c"},
            "InvalidJob",
            "External ID field can be specified only for upsert",
        ),
        (
            {"operation": "upsert", "object": "Account", "externalIdFieldName": "Phone"},
            "InvalidJob",
            "Provided external ID field does not exist or is not accessible: Phone",
        ),
        (
            {"operation": "insert", "object": "Account", "contentType": "TSV"},
            "InvalidJob",
            "Unsupported content type: TSV",
        ),
        (
            {"operation": "insert", "object": "Account", "concurrencyMode": "Both"},
            "InvalidJob",
            "Invalid concurrency mode: Both",
        ),
    ],
)
def test_a_job_that_cannot_be_is_refused(caller: Caller, fields: dict[str, str], code: str, message: str) -> None:
    assert _refusal(caller.bulk("POST", "job", job_info(**fields))) == (400, code, message)


def test_hard_delete_needs_its_permission() -> None:
    with Emulator(schema=AIRPORT, rights=Rights(hard_delete=False)) as emulator, calling(emulator) as caller:
        refused = caller.bulk("POST", "job", job_info(operation="hardDelete", object="Account"))
        assert _refusal(refused) == (
            400,
            "FeatureNotEnabled",
            "hardDelete operation requires special user profile permission, please contact your administrator",
        )


def test_unknown_jobs_batches_and_broken_requests_are_refused(caller: Caller) -> None:
    job = caller.open_job()
    assert _refusal(caller.bulk("GET", "job/7505g000000zzzz"))[:2] == (400, "InvalidJob")
    assert _refusal(caller.bulk("GET", "job/x"))[:2] == (400, "InvalidJob")
    assert _refusal(caller.bulk("GET", f"job/{job}/batch/7515g000000zzzz"))[:2] == (400, "InvalidBatch")
    assert _refusal(caller.bulk("POST", "job", "<jobInfo>"))[:2] == (400, "InvalidXML")
    assert _refusal(caller.bulk("POST", f"job/{job}/batch", b"", "text/csv"))[:2] == (400, "InvalidBatch")
    other = caller.bulk("POST", f"job/{job}/batch", b"{}", "application/json").json()
    assert other["exceptionCode"] == "InvalidBatch"
    assert _refusal(caller.bulk("POST", f"job/{job}", job_info(state="Open")))[:2] == (400, "InvalidJobState")


@pytest.mark.parametrize(
    ("version", "status"), [("30.0", 400), ("31.0", 201), ("32.0", 201), ("68.0", 201), ("69.0", 400), ("60.5", 400)]
)
def test_versions_from_31_are_served(emulator: Emulator, version: str, status: int) -> None:
    with calling(emulator, version) as caller:
        answer = caller.bulk("POST", "job", job_info(operation="insert", object="Account"))
        assert answer.status_code == status
        if status == 400:
            assert tag(answer, "exceptionCode") == "InvalidVersion"
        else:
            assert tag(answer, "apiVersion") == version


def test_a_batch_has_at_most_10000000_bytes_and_10000_rows(caller: Caller) -> None:
    job = caller.open_job()
    row = b"x,%s\n" % (b"y" * 130_000)
    long = b"Ext__c,Notes__c\n" + row * 77
    assert len(long) > 10_000_000
    assert _refusal(caller.bulk("POST", f"job/{job}/batch", long, "text/csv"))[:2] == (400, "ClientInputError")
    packed = caller.bulk("POST", f"job/{job}/batch", gzip.compress(long, 1), "text/csv", **{"Content-Encoding": "gzip"})
    assert _refusal(packed)[:2] == (400, "ClientInputError")
    many = b"Ext__c\n" + b"".join(b"%d\n" % number for number in range(10_001))
    batch = caller.add(job, many)
    assert caller.finish(job, batch) == "Failed"
    assert "10002" in tag(caller.bulk("GET", f"job/{job}/batch/{batch}"), "stateMessage")


def test_bodies_may_be_compressed_both_ways_and_chunked(caller: Caller, emulator: Emulator) -> None:
    job = caller.open_job()
    content = b"Ext__c\n" + b"".join(b"%d\n" % number for number in range(1000))
    packed = {"Content-Encoding": "gzip"}
    added = caller.bulk("POST", f"job/{job}/batch", gzip.compress(content), "text/csv", **packed)
    result = caller.result(job, tag(added, "id"))
    assert result.headers["Content-Encoding"] == "gzip"
    assert result.text.count('"true","true"') == 1000
    assert caller.bulk("GET", f"job/{job}/batch/{tag(added, 'id')}/request").content == content
    chunked = caller.bulk("POST", f"job/{job}/batch", iter([b"Ext__c\n", b"chunk", b"ed\n"]), "text/csv")
    assert caller.finish(job, tag(chunked, "id")) == "Completed"
    assert emulator.org.count("Airport__c") == 1001
    broken = caller.bulk("POST", f"job/{job}/batch", gzip.compress(content)[:-9], "text/csv", **packed)
    assert broken.status_code == 400


def test_quotas_of_batches_and_calls_end_and_come_back_with_the_day() -> None:
    now = [datetime(2026, 3, 4, tzinfo=UTC)]
    rights = Rights(batches_a_day=2, calls_a_day=12, session_seconds=1e9)
    with Emulator(schema=AIRPORT, rights=rights, clock=lambda: now[0]) as emulator, calling(emulator) as caller:
        job = caller.open_job()
        for number in range(2):
            caller.add(job, f"Ext__c\n{number}\n".encode())
        refused = caller.bulk("POST", f"job/{job}/batch", b"Ext__c\nx\n", "text/csv")
        assert _refusal(refused)[:2] == (400, "ExceededQuota")
        while (answer := caller.rest("GET", "limits")).status_code == 200:
            pass
        assert answer.status_code == 403
        assert answer.json() == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
        assert _refusal(caller.bulk("GET", f"job/{job}"))[:2] == (400, "ExceededQuota")
        now[0] += timedelta(hours=24, seconds=1)
        late = caller.bulk("POST", f"job/{job}/batch", b"Ext__c\nx\n", "text/csv")
        assert _refusal(late) == (400, "InvalidJobState", "Expired job cannot accept batches")
        fresh = caller.open_job()
        assert caller.bulk("POST", f"job/{fresh}/batch", b"Ext__c\nx\n", "text/csv").status_code == 201


def test_a_job_that_ended_vanishes_after_seven_days() -> None:
    now = [datetime(2026, 3, 4, tzinfo=UTC)]
    rights = Rights(session_seconds=1e9)
    with Emulator(schema=AIRPORT, rights=rights, clock=lambda: now[0]) as emulator, calling(emulator) as caller:
        job = caller.open_job()
        caller.result(job, caller.add(job, b"Ext__c\n1\n"))
        caller.bulk("POST", f"job/{job}", job_info(state="Closed"))
        now[0] += timedelta(days=6)
        later = caller.open_job()
        assert caller.bulk("GET", f"job/{job}").status_code == 200
        now[0] += timedelta(days=1, seconds=1)
        caller.open_job()
        assert _refusal(caller.bulk("GET", f"job/{job}"))[:2] == (400, "InvalidJob")
        assert caller.bulk("GET", f"job/{later}").status_code == 200


def test_a_session_ends_when_it_was_not_used_for_its_time() -> None:
    now = [datetime(2026, 3, 4, tzinfo=UTC)]
    with Emulator(schema=AIRPORT, clock=lambda: now[0]) as emulator, calling(emulator) as caller:
        for _ in range(3):
            now[0] += timedelta(minutes=119)
            assert caller.rest("GET", "limits").status_code == 200
        now[0] += timedelta(minutes=121)
        refused = caller.rest("GET", "limits")
        assert (refused.status_code, refused.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
        assert _refusal(caller.bulk("GET", "job/x")) == (400, "InvalidSessionId", "Invalid session id")
        assert refused.headers["Date"] == "Wed, 04 Mar 2026 07:58:00 GMT"
