"""A small Salesforce for tests of one client: a few objects, Bulk API 1.0, and faults on the wire when asked for.

It runs in this process, so that a test can look into it; the emulator is the one that is meant to be true to life.
"""

import csv
import io
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

csv.field_size_limit(2**27)
NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"


class Reply(NamedTuple):
    status: int
    body: bytes
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(kw_only=True)
class Fault:
    """What happens to the requests ``at`` (counted from 1) whose ``METHOD /path`` matches ``pattern``.

    ``how`` is a reply instead of the true one, or ``lose`` (acted on, never answered), ``drop`` (never acted on),
    ``cut`` (the answer breaks off), ``hang`` (no answer until the server ends) or ``late`` (acted on when
    :meth:`SmallOrg.act_late` is called).
    """

    pattern: str
    how: str | Reply
    at: frozenset[int] = frozenset({1})
    seen: int = 0


@dataclass(kw_only=True)
class SmallBatch:
    id: str
    content: bytes
    state: str = "Completed"
    message: str = ""
    results: list[tuple[str, bool, bool, str]] = field(default_factory=list)
    polls_left: int = 0


@dataclass(kw_only=True)
class SmallJob:
    id: str
    operation: str
    key: str | None
    mode: str
    state: str = "Open"
    created_at: float = field(default_factory=time.time)
    batches: list[SmallBatch] = field(default_factory=list)


def text_field(name: str, **others: Any) -> dict[str, Any]:
    shape = {"name": name, "type": "string", "createable": True, "updateable": True, "nillable": True}
    return {"defaultedOnCreate": False, "externalId": False, "idLookup": False, "caseSensitive": False} | shape | others


CONTACT = {
    "name": "Contact",
    "createable": True,
    "updateable": True,
    "fields": [
        text_field("Id", type="id", createable=False, updateable=False, nillable=False, defaultedOnCreate=True),
        text_field("LastName", nillable=False),
        text_field("Email", type="email"),
        text_field("Ext_Id__c", externalId=True, idLookup=True),
        text_field("Case_Id__c", externalId=True, idLookup=True, caseSensitive=True),
        text_field("Born__c", type="date"),
        text_field("Score__c", type="double"),
        text_field("Active__c", type="boolean", nillable=False, defaultedOnCreate=True),
        text_field("CreatedDate", type="datetime", createable=False, updateable=False),
        text_field("Source__c", updateable=False),
        text_field("AccountId", type="reference", relationshipName="Account", referenceTo=["Account"]),
        text_field("OwnerId", type="reference", relationshipName="Owner", referenceTo=["User", "Group"]),
    ],
}
ACCOUNT = {
    "name": "Account",
    "createable": True,
    "updateable": True,
    "fields": [text_field("Name", nillable=False), text_field("Ext__c", externalId=True)],
}
USER = {"name": "User", "createable": False, "updateable": False, "fields": [text_field("Email", idLookup=True)]}


class SmallOrg:
    """The state; every method is called with the lock held."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[str, dict[str, Any]] = {each["name"]: each for each in (CONTACT, ACCOUNT, USER)}
        self.jobs: dict[str, SmallJob] = {}
        self.records: list[dict[str, str]] = []
        self.faults: list[Fault] = []
        self.calls: list[str] = []
        self.bodies: list[bytes] = []
        self.logins = 0
        self.token = "none yet"
        self.url = ""
        self.refuse: Callable[[dict[str, str]], str | None] = lambda _row: None
        self.polls = 0
        self.on_call: Callable[[str], None] = lambda _call: None
        self.on_peer: Callable[[object], None] = lambda _address: None
        self.ended = threading.Event()
        self.late: list[tuple[str, str, Any, bytes]] = []
        self.late_replies: list[Reply] = []
        self._numbers = itertools.count(1)

    def values(self, name: str) -> list[str]:
        with self.lock:
            return [record[name] for record in self.records]

    def count(self, pattern: str) -> int:
        with self.lock:
            return sum(bool(re.search(pattern, call)) for call in self.calls)

    def act_late(self) -> None:
        """Act on the requests that have lain about."""
        with self.lock:
            self.late_replies += [self.reply(*request) for request in self.late]

    def fault_for(self, call: str) -> str | Reply | None:
        for fault in self.faults:
            if re.search(fault.pattern, call):
                fault.seen += 1
                if fault.seen in fault.at:
                    return fault.how
        return None

    def reply(self, method: str, path: str, headers: Any, body: bytes) -> Reply:
        if path == "/services/oauth2/token":
            self.logins += 1
            self.token = f"token-{self.logins}"
            return _json(200, {"access_token": self.token, "instance_url": self.url})
        if path.startswith("/services/data/"):
            if headers.get("Authorization") != f"Bearer {self.token}":
                return _json(401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}])
            return self._describe(path.split("/", 4)[4])
        if headers.get("X-SFDC-Session") != self.token:
            return _refusal("InvalidSessionId", "Invalid session id")
        return self._bulk(method, path.split("/", 4)[4].split("/"), body)

    def _describe(self, path: str) -> Reply:
        if path == "sobjects":
            return _json(200, {"sobjects": [{"name": name} for name in self.objects]})
        found = {name.lower(): each for name, each in self.objects.items()}.get(path.split("/")[1].lower())
        if found is None:
            return _json(404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}])
        return _json(200, found)

    def _bulk(self, method: str, path: list[str], body: bytes) -> Reply:
        if path == ["job"]:
            return self._open(body)
        job = self.jobs[path[1]]
        if len(path) == 2:
            return _job(job) if method == "GET" else self._end(job, body)
        if len(path) == 3:
            return self._list(job) if method == "GET" else self._take(job, body)
        batch = next(each for each in job.batches if each.id == path[3])
        if path[4] == "request":
            return Reply(200, batch.content, "text/csv")
        if batch.state in {"Failed", "NotProcessed"} and not batch.results:
            return _refusal("InvalidBatch", "Records not processed")
        return Reply(200, _results(batch), "text/csv")

    def _open(self, body: bytes) -> Reply:
        job = SmallJob(
            id=f"750{next(self._numbers):015d}",
            operation=_tag(body, "operation"),
            key=_tag(body, "externalIdFieldName") or None,
            mode=_tag(body, "concurrencyMode"),
        )
        self.jobs[job.id] = job
        return _job(job, 201)

    def _end(self, job: SmallJob, body: bytes) -> Reply:
        if job.state != "Open":
            return _refusal("InvalidJobState", f"Job is {job.state}")
        self.end(job, _tag(body, "state"))
        return _job(job)

    def end(self, job: SmallJob, state: str) -> None:
        """Bring a job to an end as its owner or an administrator does."""
        job.state = state
        for batch in job.batches:
            if state == "Aborted" and batch.state == "Queued":
                batch.state = "NotProcessed"

    def _list(self, job: SmallJob) -> Reply:
        for batch in job.batches:
            self._advance(job, batch)
        batches = "".join(_batch(batch) for batch in job.batches)
        return _xml(200, f'<batchInfoList xmlns="{NAMESPACE}">{batches}</batchInfoList>')

    def _take(self, job: SmallJob, body: bytes) -> Reply:
        if job.state != "Open":
            return _refusal("InvalidJobState", f"{job.state} job cannot accept batches")
        batch = SmallBatch(id=f"751{next(self._numbers):015d}", content=body, state="Queued", polls_left=self.polls)
        job.batches.append(batch)
        if not self.polls:
            self._advance(job, batch)
        return _xml(201, _batch(batch))

    def _advance(self, job: SmallJob, batch: SmallBatch) -> None:
        if batch.state != "Queued":
            return
        if batch.polls_left:
            batch.polls_left -= 1
            return
        batch.state = "Completed"
        for row in csv.DictReader(io.StringIO(batch.content.decode(), newline="")):
            refusal = self.refuse(row)
            if refusal is not None:
                batch.results.append(("", False, False, refusal))
                continue
            batch.results.append(self._write(job, row))

    def _write(self, job: SmallJob, row: dict[str, str]) -> tuple[str, bool, bool, str]:
        key = next((name for name in row if name.lower() == (job.key or "Id").lower()), "Id")
        if job.operation != "insert":
            found = next((each for each in self.records if each.get(key) == row[key]), None)
            if found is not None:
                found |= row
                return found["Id"], True, False, ""
            if job.operation == "update":
                return "", False, False, "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--"
        made = {"Id": f"003{len(self.records):012d}AAA", **row}
        self.records.append(made)
        return made["Id"], True, True, ""


def _json(status: int, body: Any) -> Reply:
    return Reply(status, json.dumps(body).encode())


def _xml(status: int, text: str) -> Reply:
    return Reply(status, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(), "application/xml")


def _refusal(code: str, message: str) -> Reply:
    inner = f"<exceptionCode>{code}</exceptionCode><exceptionMessage>{message}</exceptionMessage>"
    return _xml(400, f'<error xmlns="{NAMESPACE}">{inner}</error>')


def _tag(body: bytes, name: str) -> str:
    match = re.search(f"<{name}>(.*?)</{name}>".encode(), body)
    return match[1].decode() if match else ""


def _job(job: SmallJob, status: int = 200) -> Reply:
    created = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(job.created_at))
    inner = f"<id>{job.id}</id><createdDate>{created}</createdDate><state>{job.state}</state>"
    return _xml(status, f'<jobInfo xmlns="{NAMESPACE}">{inner}</jobInfo>')


def _batch(batch: SmallBatch) -> str:
    message = f"<stateMessage>{escape(batch.message)}</stateMessage>" if batch.message else ""
    inner = f"<id>{batch.id}</id><state>{batch.state}</state>{message}"
    processed = f"<numberRecordsProcessed>{len(batch.results)}</numberRecordsProcessed>"
    return f'<batchInfo xmlns="{NAMESPACE}">{inner}{processed}</batchInfo>'


def _results(batch: SmallBatch) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(("Id", "Success", "Created", "Error"))
    for record, success, created, error in batch.results:
        writer.writerow((record, str(success).lower(), str(created).lower(), error))
    return written.getvalue().encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet per answer: two would wait for each other for 40 ms
    org: SmallOrg

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = f"{self.command} {self.path}"
        with self.org.lock:
            self.org.calls.append(call)
            self.org.on_peer(self.client_address)
            self.org.on_call(call)
            how = self.org.fault_for(call)
            acted = how in (None, "lose", "cut")
            reply = self.org.reply(self.command, self.path, self.headers, body) if acted else how
            if how == "late":
                self.org.late.append((self.command, self.path, self.headers, body))
        if how in ("lose", "drop", "hang", "late"):
            if how in ("hang", "late"):
                self.org.ended.wait()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        assert isinstance(reply, Reply)
        self.send_response_only(reply.status)
        for name, value in (("Date", formatdate(usegmt=True)), ("Content-Type", reply.kind), *reply.headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if how == "cut" else reply.body)
        self.wfile.flush()
        if how == "cut":
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: peers that are killed are what these tests are about."""


@contextmanager
def small_org() -> Iterator[SmallOrg]:
    """Serve a small org on a free loopback port until the block ends."""
    org = SmallOrg()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"org": org}))
    org.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield org
    finally:
        org.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
