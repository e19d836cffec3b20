"""Treasure Data's REST API over HTTP on this machine, as its own client speaks it; DuckDB runs the queries.

Jobs, domain keys, results as gzipped MessagePack in ranges, and faults that are planted for the next matching call.
"""

import gzip
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import duckdb
from support.databases.td_results import form_of, run

KEY = "1/0123456789abcdef0123456789abcdef01234567"
DATABASE = "shop"
_ANALYSIS = ("ParserException", "BinderException", "CatalogException", "SyntaxException")


@dataclass(kw_only=True)
class Fault:
    """What befalls the next ``times`` calls whose method and path match ``call``, ``after`` so many that it spares.

    ``status``: answered so instead of done. ``lost``: done, but the connection is closed instead of answered. ``cut``:
    the answer's body ends after so many bytes. ``ranges`` False: a range that is asked for is ignored.
    """

    call: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    cut: int | None = None
    ranges: bool = True
    after: int = 0
    times: int = 1


@dataclass(kw_only=True)
class Job:
    """A query over there."""

    id: str
    type: str
    form: dict[str, str]
    status: str = "queued"
    columns: list[list[str]] = field(default_factory=list)
    result: bytes = b""
    records: int = 0
    stderr: str = ""
    cursor: Any = None
    thread: Any = None


class TdServer:
    """An account with one database; ``engine`` is its DuckDB, to be filled by the test.

    ``calls`` are all requests as ``METHOD /path``; while ``held`` is set, jobs stay in ``running`` without running.
    """

    def __init__(self) -> None:
        self.engine = duckdb.connect(":memory:", config={"threads": "1"})
        self.jobs: dict[str, Job] = {}
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[Fault] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.names_the_conflict = True
        self._keys: dict[str, str] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"td": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.go_on.set()
        for job in list(self.jobs.values()):
            self._interrupt(job)
            if job.thread is not None:
                job.thread.join()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.engine.close()

    def plant(self, call: str, **what: Any) -> None:
        """Let something befall a coming call; ``call`` is a pattern of ``METHOD /path``."""
        self.faults.append(Fault(call=call, **what))

    def fault_of(self, call: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.call, call):
                    fault.after -= 1
                    if fault.after >= 0:
                        continue
                    fault.times -= 1
                    return fault
        return None

    def answer(self, method: str, path: str, form: dict[str, str]) -> tuple[int, Any]:
        """Return the status and the answer, JSON or bytes, of one call of the API."""
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        match [method, *parts]:
            case ["POST", "v3", "job", "issue", kind, database]:
                return self._issue(kind, database, form)
            case ["GET", "v3", "job", "status_by_domain_key", key] if key in self._keys:
                return self._about("GET status", self.jobs[self._keys[key]])
            case [_, "v3", "job", what, job_id] if job_id in self.jobs:
                return self._about(f"{method} {what}", self.jobs[job_id])
            case ["GET", "v3", "table", "list", database] if database == DATABASE:
                return 200, {"database": database, "tables": []}
            case _:
                return 404, {"error": f"Resource not found: {path}", "severity": "error"}

    def _about(self, what: str, job: Job) -> tuple[int, Any]:
        match what:
            case "GET status":
                return 200, {"job_id": job.id, "status": job.status}
            case "GET show":
                return 200, self._show(job)
            case "GET result" if job.status == "success":
                return 200, job.result
            case "POST kill":
                return 200, {"job_id": job.id, "former_status": self._kill(job)}
            case _:
                return 404, {"error": f"Job {job.id} has nothing there", "severity": "error"}

    def _issue(self, kind: str, database: str, form: dict[str, str]) -> tuple[int, Any]:
        if database != DATABASE:
            return 404, {"error": f"Database {database} does not exist", "severity": "error"}
        if kind not in ("trino", "presto", "hive"):
            return 422, {"error": f"Invalid job type: {kind}", "severity": "error"}
        with self._lock:
            key = form.get("domain_key")
            if key is not None and key in self._keys:
                details = {"details": {"conflicts_with": self._keys[key]}} if self.names_the_conflict else {}
                return 409, {"error": "Domain key has already been taken", "severity": "error", **details}
            job = Job(id=str(100001 + len(self.jobs)), type=kind, form=form)
            self.jobs[job.id] = job
            if key is not None:
                self._keys[key] = job.id
        job.cursor = self.engine.cursor()
        job.thread = threading.Thread(target=self._work, args=(job,), daemon=True)
        job.thread.start()
        return 200, {"job": job.id, "job_id": job.id, "database": database}

    def _work(self, job: Job) -> None:
        job.status = "running" if job.status == "queued" else job.status
        self.go_on.wait(60)
        if job.status == "killed":
            return
        try:
            columns, result, records = run(job.cursor, job.form["query"])
        except duckdb.Error as error:
            where = "line 1:1: " if type(error).__name__ in _ANALYSIS else ""
            job.stderr = f"Query 20261124_000000_{job.id}_td failed: {where}{_first_line(error)}\n"
            ended = "error"
        else:
            job.columns, job.result, job.records, ended = columns, result, records, "success"
        with self._lock:
            job.status = ended if job.status == "running" else job.status

    def _kill(self, job: Job) -> str:
        with self._lock:
            former = job.status
            if former in ("queued", "running"):
                job.status = "killed"
        self._interrupt(job)
        return former

    def _interrupt(self, job: Job) -> None:
        with suppress(duckdb.Error):
            if job.cursor is not None and job.status in ("killed", "running"):
                job.cursor.interrupt()

    def _show(self, job: Job) -> dict[str, Any]:
        done = job.status == "success"
        return {
            "job_id": job.id,
            "type": job.type,
            "status": job.status,
            "query": job.form["query"],
            "database": DATABASE,
            "hive_result_schema": json.dumps(job.columns) if done and job.columns else None,
            "num_records": job.records if done else None,
            "result_size": len(job.result),
            "created_at": "2026-11-24 00:00:00 UTC",
            "debug": {"cmdout": f"executing query: {job.form['query']}\n", "stderr": job.stderr},
        }


@contextmanager
def td_server() -> Iterator[TdServer]:
    server = TdServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _first_line(error: Exception) -> str:
    return str(error).partition(": ")[2].splitlines()[0]


class _Handler(BaseHTTPRequestHandler):
    td: TdServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        call = f"{method} {self.path}"
        self.td.calls.append(call)
        self.td.headers.append({name.lower(): value for name, value in self.headers.items()})
        fault = self.td.fault_of(call) or Fault(call=call)
        if fault.status is not None:
            self._send(fault.status, {"error": "planted", "severity": "error"}, fault)
        elif self.headers.get("Authorization") != f"TD1 {KEY}":
            self._send(401, {"error": "Authentication failed", "severity": "error"}, fault)
        else:
            status, content = self.td.answer(method, path, form_of(self.headers.get("Content-Type") or "", body))
            self._send(status, content, fault)

    def _send(self, status: int, content: Any, fault: Fault) -> None:
        if fault.lost:
            self.close_connection = True
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = dict(fault.headers)
        if "/job/result/" in self.path and isinstance(content, bytes) and "msgpack.gz" not in self.path:
            data = gzip.decompress(data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked and isinstance(content, bytes) and fault.ranges:
            start, end = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
            status = 206 if start < len(data) else 416
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data = data[start : end + 1]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data if fault.cut is None else data[: fault.cut])
        self.close_connection = self.close_connection or fault.cut is not None
