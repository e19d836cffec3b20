"""The emulator as a process, and what befalls its callers on request."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import requests
from support.salesforce.emulator_http import Caller, calling, tag
from support.salesforce.emulator_schema import AIRPORT

from exporter.emulator.fault_injection import CallFault, RowFault
from exporter.emulator.org.store import StateInUseError
from exporter.emulator.server import Emulator

_SERVE = """
import sys
from pathlib import Path
from exporter.emulator.server import serve
serve(state=Path(sys.argv[1]), port=0, schema=Path(sys.argv[2]), announce=lambda url: print(url, flush=True))
print("ended", flush=True)
"""


class _Process:
    """An emulator of its own."""

    def __init__(self, directory: Path) -> None:
        schema = directory / "org.toml"
        schema.write_text("[objects.Airport__c.fields]\nExt__c = { external_id = true, unique = true }\n")
        command = [sys.executable, "-c", _SERVE, str(directory / "org.sqlite"), str(schema)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.output = self.process.stdout
        self.url = self.output.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.output.close()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=AIRPORT) as running:
        yield running


@pytest.fixture
def caller(emulator: Emulator) -> Iterator[Caller]:
    with calling(emulator) as client:
        yield client


def test_it_serves_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    with _Process(tmp_path) as served:
        assert served.url.startswith("http://127.0.0.1:")
        versions = requests.get(f"{served.url}/services/data", timeout=30).json()
        assert (versions[0]["version"], versions[0]["label"]) == ("31.0", "Summer '14")
        assert (versions[-1]["version"], versions[-1]["label"]) == ("68.0", "Winter '27")
        served.process.send_signal(signal.SIGTERM)
        assert served.output.read() == "ended\n"
        assert served.process.wait(30) == 0


def test_what_it_took_is_carried_out_once_though_it_is_killed(tmp_path: Path) -> None:
    """Batches that were answered with 201 before a SIGKILL are all there after a restart, each row once."""
    sent: dict[str, list[str]] = {}
    number = 0
    for _ in range(3):
        with _Process(tmp_path) as served, requests.Session() as session:
            client = Caller(served.url, session)
            job = client.open_job()
            sent[job] = []
            for _ in range(6):
                rows = "\n".join(f"key {number * 3000 + row}" for row in range(3000))
                sent[job].append(client.add(job, f"Ext__c\n{rows}\n".encode()))
                number += 1
            os.kill(served.process.pid, signal.SIGKILL)
            served.process.wait()
    with _Process(tmp_path) as served, requests.Session() as session:
        client = Caller(served.url, session)
        for job, batches in sent.items():
            for batch in batches:
                result = client.result(job, batch).text
                assert result.count('"true","true",""') == 3000
        total = client.rest("GET", "query", params={"q": "SELECT COUNT() FROM Airport__c"}).json()["totalSize"]
        distinct = client.rest("GET", "query", params={"q": "SELECT COUNT_DISTINCT(Ext__c) n FROM Airport__c"}).json()
        assert total == distinct["records"][0]["n"] == number * 3000


def test_a_state_file_serves_one_emulator_at_a_time(tmp_path: Path) -> None:
    state = tmp_path / "org.sqlite"
    with Emulator(state=state, schema=AIRPORT), pytest.raises(StateInUseError, match="in use by another emulator"):
        Emulator(state=state)
    with Emulator(state=state) as emulator, calling(emulator) as client:
        assert client.rest("GET", "sobjects/Airport__c/describe").status_code == 404


def test_a_later_schema_widens_the_state(tmp_path: Path) -> None:
    state = tmp_path / "org.sqlite"
    with Emulator(state=state, schema=AIRPORT) as emulator, calling(emulator) as client:
        client.rest("POST", "sobjects/Airport__c", json={"Ext__c": "1"})
    wider = {"objects": {"Airport__c": {"fields": {"Ext__c": {"external_id": True}, "New__c": {"type": "boolean"}}}}}
    with Emulator(state=state, schema=wider) as emulator, calling(emulator) as client:
        client.rest("POST", "sobjects/Airport__c", json={"Ext__c": "2", "New__c": True})
        assert [(each["Ext__c"], each["New__c"]) for each in emulator.org.records("Airport__c")] == [("1", 0), ("2", 1)]


def test_the_token_endpoint_says_what_is_wrong(caller: Caller) -> None:
    good = caller.log_in().json()
    assert (good["instance_url"], good["token_type"]) == (caller.url, "Bearer")
    assert good["id"].startswith(f"{caller.url}/id/00D")
    for changes, error, description in (
        ({"client_id": "other"}, "invalid_client_id", "client identifier invalid"),
        ({"client_secret": "other"}, "invalid_client", "invalid client credentials"),
        ({"client_secret": "ö"}, "invalid_client", "invalid client credentials"),
        ({"grant_type": "magic"}, "unsupported_grant_type", "grant type not supported"),
    ):
        refused = caller.log_in(**changes)
        assert (refused.status_code, refused.json()) == (400, {"error": error, "error_description": description})


def test_unknown_paths_methods_and_versions_are_refused_as_rest_does(caller: Caller, emulator: Emulator) -> None:
    assert (caller.rest("GET", "nowhere").status_code, caller.rest("PUT", "limits").status_code) == (404, 405)
    caller.version = "30.0"
    assert caller.rest("GET", "limits").status_code == 410
    caller.version = "99.0"
    assert caller.rest("GET", "limits").json()[0]["errorCode"] == "NOT_FOUND"
    headers = {"Content-Length": "nonsense", "Connection": "close"}
    assert requests.post(f"{emulator.url}/services/data", headers=headers, timeout=30).status_code == 413


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xff", "JSON_PARSER_ERROR"),
        (b"[1]", "JSON_PARSER_ERROR"),
        (b'{"Name": ["x"]}', "JSON_PARSER_ERROR"),
        (b'{"Name": "\\ud800"}', "JSON_PARSER_ERROR"),
        (b'{"Name": {"First": "x"}}', "INVALID_FIELD"),
        (b'{"Nowhere": 1}', "INVALID_FIELD"),
        (b"{}", "REQUIRED_FIELD_MISSING"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(caller: Caller, body: bytes, code: str) -> None:
    answer = caller.rest("POST", "sobjects/Account", data=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_a_list_in_a_field_of_a_collection_is_refused(caller: Caller) -> None:
    records = [{"attributes": {"type": "Account"}, "Name": ["x"]}]
    answer = caller.rest("POST", "composite/sobjects", json={"records": records})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n\r\n",
        b"BREW /services/data HTTP/1.1\r\n\r\n",
        b"POST /services/data HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /services/data HTTP/1.1\r\nContent-Length: 100\r\n\r\nshort",
    ],
)
def test_what_is_no_request_harms_nobody_else(caller: Caller, emulator: Emulator, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2]))) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)
        while connection.recv(65_536):
            pass
    assert caller.rest("GET", "limits").status_code == 200


@pytest.mark.parametrize("sent", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n64\r\n"])
def test_a_request_that_breaks_off_has_no_effect(caller: Caller, emulator: Emulator, sent: bytes) -> None:
    job = caller.open_job()
    head = f"POST /services/async/60.0/job/{job}/batch HTTP/1.1\r\nX-SFDC-Session: {caller.token}\r\n"
    with socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2]))) as connection:
        connection.sendall(head.encode() + b"Content-Type: text/csv\r\n" + sent + b"Ext__c\n1\n2")
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)
        assert connection.recv(65_536) == b""
    assert "<batchInfo>" not in caller.bulk("GET", f"job/{job}/batch").text


def test_state_counts_records_jobs_and_calls(caller: Caller) -> None:
    job = caller.open_job()
    caller.result(job, caller.add(job, b"Ext__c\n1\n2\n"))
    state = requests.get(f"{caller.url}/_emulator/state", timeout=30).json()
    assert (state["records"]["Airport__c"], state["recycle_bin"]["Airport__c"]) == (2, 0)
    assert state["jobs"] == [{"id": job, "api": "1", "operation": "insert", "object": "Airport__c", "state": "Open"}]
    assert state["batches"] == {"Completed": 1}
    assert state["calls"]["POST /services/async/{version}/job/{job}/batch"] == 1


def test_tokens_and_ids_are_the_same_for_the_same_seed() -> None:
    tokens = []
    for seed in (1, 1, 2):
        with Emulator(seed=seed) as emulator, calling(emulator) as client:
            tokens.append(client.token)
    assert tokens[0] == tokens[1] != tokens[2]


def _add_fault(caller: Caller, **fault: object) -> None:
    answer = requests.post(f"{caller.url}/_emulator/faults", json=fault, timeout=30)
    assert answer.status_code == 201, answer.text


def test_a_call_is_answered_with_a_fault_at_the_times_asked_for(caller: Caller) -> None:
    page = {"status": 503, "body": "<html>busy</html>", "headers": {"Retry-After": "7"}}
    _add_fault(caller, pattern="^GET .*/limits$", action="answer", nth=[1, 3], **page)
    answers = [caller.rest("GET", "limits") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 200, 503, 200]
    assert (answers[0].text, answers[0].headers["Retry-After"]) == ("<html>busy</html>", "7")
    assert caller.rest("GET", "sobjects").status_code == 200
    listed = requests.get(f"{caller.url}/_emulator/faults", timeout=30).json()["faults"]
    assert listed == [{"pattern": "^GET .*/limits$", "action": "answer", "nth": [1, 3], "seen": 4}]
    requests.delete(f"{caller.url}/_emulator/faults", timeout=30)
    assert requests.get(f"{caller.url}/_emulator/faults", timeout=30).json() == {"faults": []}


@pytest.mark.parametrize(("action", "arrived"), [("drop_before", 0), ("drop_after", 1), ("truncate", 1), ("hang", 0)])
def test_a_request_is_lost_before_or_after_it_had_its_effect(
    caller: Caller, emulator: Emulator, action: str, arrived: int
) -> None:
    job = caller.open_job()
    emulator.faults.add(CallFault(pattern="POST .*/batch$", action=action, nth=(1,), seconds=0.05))  # type: ignore[arg-type] # a word of its kind
    with pytest.raises(requests.RequestException):
        caller.add(job, b"Ext__c\n1\n")
    assert caller.bulk("GET", f"job/{job}/batch").text.count("<batchInfo>") == arrived
    caller.result(job, caller.add(job, b"Ext__c\n2\n"))
    assert emulator.org.count("Airport__c") == arrived + 1


def test_a_session_ends_at_the_call_asked_for(caller: Caller, emulator: Emulator) -> None:
    job = caller.open_job()
    emulator.faults.add(CallFault(pattern="POST .*/batch$", action="expire", nth=(2,)))
    caller.add(job, b"Ext__c\n1\n")
    refused = caller.bulk("POST", f"job/{job}/batch", b"Ext__c\n2\n", "text/csv")
    assert (refused.status_code, tag(refused, "exceptionCode")) == (400, "InvalidSessionId")
    caller.token = caller.log_in().json()["access_token"]
    caller.result(job, caller.add(job, b"Ext__c\n2\n"))
    assert emulator.org.count("Airport__c") == 2


def test_a_slow_answer_is_a_right_one_and_ends_with_the_server(emulator: Emulator) -> None:
    emulator.faults.add(CallFault(pattern="/services/data$", action="slow", nth=(1,), seconds=0.2))
    begun = time.monotonic()
    assert requests.get(f"{emulator.url}/services/data", timeout=30).status_code == 200
    assert time.monotonic() - begun >= 0.2
    emulator.faults.add(CallFault(pattern="/services/data$", action="hang", seconds=3600))
    lost: list[requests.RequestException] = []

    def ask() -> None:
        try:
            requests.get(f"{emulator.url}/services/data", timeout=300)
        except requests.RequestException as error:
            lost.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while emulator.faults.listed()[1]["seen"] == 0:
        time.sleep(0.01)
    emulator.stop()
    asking.join(30)
    assert len(lost) == 1


def test_locked_rows_are_refused_as_often_as_asked(caller: Caller, emulator: Emulator) -> None:
    emulator.faults.add(RowFault(object="airport__c", column="ext__c", values=("b",), times=2))
    _add_fault(caller, object="Airport__c", every=3, times=1, error=["UNABLE_TO_LOCK_ROW", "busy"])
    job = caller.open_job("upsert", externalIdFieldName="Ext__c")
    refused = []
    for _ in range(3):
        lines = caller.result(job, caller.add(job, b"Ext__c\na\nb\nc\n")).text.splitlines()[1:]
        refused.append([number for number, line in enumerate(lines) if "UNABLE_TO_LOCK_ROW" in line])
    assert refused == [[1, 2], [1], []]
    assert emulator.org.count("Airport__c") == 3


def test_a_batch_fails_as_a_whole_when_asked(caller: Caller) -> None:
    message = "InternalServerError : Something went wrong"
    _add_fault(caller, object="Airport__c", batch_message=message, times=1)
    job = caller.open_job()
    first, second = (caller.add(job, f"Ext__c\n{number}\n".encode()) for number in range(2))
    assert [caller.finish(job, first), caller.finish(job, second)] == ["Failed", "Completed"]
    assert tag(caller.bulk("GET", f"job/{job}/batch/{first}"), "stateMessage") == message


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"pattern": "x"},
        {"pattern": "x", "action": "explode"},
        {"pattern": "(", "action": "hang"},
        {"pattern": "x", "action": "hang", "nht": [1]},
        {"object": "Account", "column": "Name"},
        [],
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(caller: Caller, fault: object) -> None:
    answer = requests.post(f"{caller.url}/_emulator/faults", json=fault, timeout=30)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


def test_an_org_has_an_id_of_its_own_which_stays_with_its_file(tmp_path: Path) -> None:
    ids: list[str] = []
    for name in ("one", "two", "one"):
        with Emulator(state=tmp_path / name, seed=None) as emulator:
            ids.append(emulator.org.org_id)
    assert ids[0] == ids[2] != ids[1]
    assert {(each[:3], len(each)) for each in ids} == {("00D", 18)}
