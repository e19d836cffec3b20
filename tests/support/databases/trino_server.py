"""Trino's client protocol over HTTP on this machine, as its own client speaks it; DuckDB runs the queries.

https://trino.io/docs/current/develop/client-protocol.html: a statement is posted, and pages are fetched until one names
no next. PREPARE, EXECUTE, EXECUTE IMMEDIATE and DEALLOCATE are the protocol's, faults are planted for the next matching
call, and what DuckDB has no types for is answered as the test has it in ``canned``.
"""

import base64
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
from support.databases.td_server import Fault
from support.databases.trino_results import Pages, column, split

PASSWORD = "s3cret"
"""Asked for by a server that is made with ``login=True``."""
_ANALYSIS = {
    "ParserException": "SYNTAX_ERROR",
    "BinderException": "COLUMN_NOT_FOUND",
    "CatalogException": "TABLE_NOT_FOUND",
}
_LONGEST_WAIT = 1.0


@dataclass(kw_only=True)
class Statement:
    """A query over there: its pages are made as they are asked for; the last may be asked for again."""

    id: str
    sql: str
    headers: dict[str, str]
    cursor: Any
    ready: threading.Event = field(default_factory=threading.Event)
    pages: Any = None
    error: dict[str, Any] | None = None
    canceled: bool = False
    update: str | None = None
    token: int = 0
    page: tuple[str, bool] = ("", False)
    thread: Any = None


class TrinoServer:
    """A cluster; ``engine`` is its DuckDB, to be filled by the test.

    ``calls`` are all requests as ``METHOD /path``, ``statements`` what was posted. ``canned`` has the columns (names
    and types) and rows of statements that are not DuckDB's. ``base`` is what callers reach it by, where that is not
    its own address. ``immediate`` False: one from before EXECUTE IMMEDIATE.
    """

    def __init__(self, *, login: bool = False, immediate: bool = True, page_rows: int = 1000) -> None:
        self.engine = duckdb.connect(":memory:", config={"threads": "1"})
        self.statements: dict[str, Statement] = {}
        self.canned: dict[str, tuple[list[tuple[str, str]], list[list[Any]]]] = {}
        self.calls: list[str] = []
        self.faults: list[Fault] = []
        self.login = login
        self.immediate = immediate
        self.page_rows = page_rows
        self.base: str | None = None
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"trino": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        for statement in list(self.statements.values()):
            self.cancel(statement)
            statement.thread.join()
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

    def running(self) -> list[Statement]:
        """Return the queries that are neither read to their end, nor failed, nor canceled."""
        known = list(self.statements.values())
        return [each for each in known if not each.canceled and each.error is None and not each.page[1]]

    def post(self, sql: str, headers: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        """Take a statement, and return the first answer with its headers."""
        with self._lock:
            name = f"20261124_000000_{len(self.statements):05}_abcde"
            statement = Statement(id=name, sql=sql, headers=headers, cursor=self.engine.cursor())
            self.statements[name] = statement
        answered: dict[str, str] = {}
        if prepare := re.fullmatch(r"PREPARE (\w+) FROM (.*)", sql, re.DOTALL):
            answered["X-Trino-Added-Prepare"] = f"{prepare[1]}={urllib.parse.quote_plus(prepare[2])}"
            sql, statement.update = "select true as result", "PREPARE"
        elif deallocate := re.fullmatch(r"DEALLOCATE PREPARE (\w+)", sql):
            answered["X-Trino-Deallocated-Prepare"] = deallocate[1]
            sql, statement.update = "select true as result", "DEALLOCATE"
        statement.thread = threading.Thread(target=self._work, args=(statement, sql), daemon=True)
        statement.thread.start()
        return self._answer(statement, "QUEUED", next_uri=self._uri("queued", statement, 1)), answered

    def get(self, kind: str, name: str, token: int) -> dict[str, Any] | None:
        """Return a page, or None if there is no such thing."""
        statement = self.statements.get(name)
        if statement is None or token not in (statement.token, statement.token + 1, 1):
            return None
        if not statement.ready.wait(_LONGEST_WAIT) and not statement.canceled:
            return self._answer(statement, "RUNNING", next_uri=self._uri(kind, statement, token))
        if statement.canceled:
            error = _error("USER_CANCELED", "Query was canceled", "USER_ERROR")
            return self._answer(statement, "FAILED", error=error)
        if kind == "queued":
            return self._answer(statement, "RUNNING", next_uri=self._uri("executing", statement, 1))
        if token > statement.token and statement.error is None:
            try:
                statement.page = statement.pages.next_page()
            except (duckdb.Error, OSError) as error:  # Arrow's readers make the latter of the former
                statement.error = _fault_of(error)
            statement.token = token
        if statement.error is not None:
            return self._answer(statement, "FAILED", error=statement.error)
        data, last = statement.page
        following = None if last else self._uri("executing", statement, token + 1)
        return self._answer(
            statement, "FINISHED" if last else "RUNNING", next_uri=following, columns=statement.pages.columns, data=data
        )

    def cancel(self, statement: Statement) -> None:
        statement.canceled = statement.canceled or not statement.page[1]
        with suppress(duckdb.Error):
            statement.cursor.interrupt()

    def _work(self, statement: Statement, sql: str) -> None:
        try:
            sql = self._bound(sql, statement.headers)
            if sql in self.canned:
                columns, rows = self.canned[sql]
                statement.pages = _Canned([column(*each) for each in columns], rows, self.page_rows)
            else:
                statement.pages = Pages(statement.cursor, sql, self.page_rows)
        except (duckdb.Error, _StatementError) as error:
            statement.error = _fault_of(error)
        finally:
            statement.ready.set()

    def _bound(self, sql: str, headers: dict[str, str]) -> str:
        """Return the SQL that an EXECUTE means, with its values where the question marks were."""
        if match := re.fullmatch(r"EXECUTE IMMEDIATE '((?:[^']|'')*)'(?: USING (.*))?", sql, re.DOTALL):
            if not self.immediate:
                raise _StatementError("SYNTAX_ERROR", "line 1:9: mismatched input 'IMMEDIATE'")
            return _fill(match[1].replace("''", "'"), match[2] or "")
        if match := re.fullmatch(r"EXECUTE (\w+) USING (.*)", sql, re.DOTALL):
            known = dict(urllib.parse.parse_qsl(headers.get("x-trino-prepared-statement", "").replace(",", "&")))
            if match[1] not in known:
                raise _StatementError("NOT_FOUND", f"Prepared statement not found: {match[1]}")
            return _fill(known[match[1]], match[2])
        return sql

    def _uri(self, kind: str, statement: Statement, token: int) -> str:
        base = self.base or f"http://127.0.0.1:{self.port}"
        return f"{base}/v1/statement/{kind}/{statement.id}/slug/{token}"

    def _answer(
        self,
        statement: Statement,
        state: str,
        *,
        next_uri: str | None = None,
        columns: list[dict[str, Any]] | None = None,
        data: str = "",
        error: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "id": statement.id,
            "infoUri": f"http://127.0.0.1:{self.port}/ui/query.html?{statement.id}",
            "stats": {"state": state, "queued": state == "QUEUED", "scheduled": state != "QUEUED"},
            "warnings": [],
        }
        parts = {
            "updateType": statement.update,
            "nextUri": next_uri,
            "columns": columns,
            "error": error,
            "data": data or None,
        }
        return answer | {key: value for key, value in parts.items() if value is not None}


class _StatementError(Exception):
    """A failure of a statement: its name among Trino's, and what it says."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class _Canned:
    def __init__(self, columns: list[dict[str, Any]], rows: list[list[Any]], page_rows: int) -> None:
        self.columns = columns
        self._rows = rows
        self._size = page_rows

    def next_page(self) -> tuple[str, bool]:
        page, self._rows = self._rows[: self._size], self._rows[self._size :]
        return json.dumps(page), not self._rows


def _fill(sql: str, values: str) -> str:
    """Put the values of USING where the question marks outside of quotes and comments are."""
    given = iter(split(values))
    tokens = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\?", re.DOTALL)
    return tokens.sub(lambda match: f"({next(given)})" if match[0] == "?" else match[0], sql)


def _fault_of(error: Exception) -> dict[str, Any]:
    if isinstance(error, _StatementError):
        return _error(error.name, str(error), "USER_ERROR", located=error.name == "SYNTAX_ERROR")
    name = _ANALYSIS.get(type(error).__name__)
    title, _, text = str(error).splitlines()[0].partition(": ")
    if name is not None:
        return _error(name, f"line 1:1: {text}", "USER_ERROR", located=True)
    if title.startswith("INTERRUPT"):
        return _error("USER_CANCELED", "Query was canceled", "USER_ERROR")
    return _error("INVALID_CAST_ARGUMENT", text, "USER_ERROR")


def _error(name: str, message: str, kind: str, *, located: bool = False) -> dict[str, Any]:
    place = {"errorLocation": {"lineNumber": 1, "columnNumber": 1}} if located else {}
    return {"message": message, "errorCode": 1, "errorName": name, "errorType": kind, **place}


@contextmanager
def trino_server(**options: Any) -> Iterator[TrinoServer]:
    server = TrinoServer(**options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    trino: TrinoServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the body would wait for the other side to have the head

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        call = f"{method} {self.path}"
        self.trino.calls.append(call)
        fault = self.trino.fault_of(call) or Fault(call=call)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = re.fullmatch(r"/v1/statement/(queued|executing)/(\w+)/slug/(\d+)", self.path)
        if fault.status is not None:
            self._send(fault.status, b"planted", fault)
        elif not self._may(headers):
            self._send(401, b"Unauthorized", fault)
        elif method == "POST" and self.path == "/v1/statement":
            answer, more = self.trino.post(body, headers)
            self._send(200, _written(answer), fault, more)
        elif asked and method == "DELETE" and asked[2] in self.trino.statements:
            self.trino.cancel(self.trino.statements[asked[2]])
            self._send(204, b"", fault)
        elif asked and method == "GET":
            found = self.trino.get(asked[1], asked[2], int(asked[3]))
            self._send(410 if found is None else 200, b"Query not found" if found is None else _written(found), fault)
        else:
            self._send(404, b"Not found", fault)

    def _may(self, headers: dict[str, str]) -> bool:
        user = headers.get("x-trino-user") or ""
        if not self.trino.login:
            return bool(user) or self.command != "POST"
        expected = base64.b64encode(f"reader:{PASSWORD}".encode()).decode()
        return headers.get("authorization") == f"Basic {expected}"

    def _send(self, status: int, data: bytes, fault: Fault, more: dict[str, str] | None = None) -> None:
        if fault.lost:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {**fault.headers, **(more or {}), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if fault.cut is None else data[: fault.cut])
        self.close_connection = self.close_connection or fault.cut is not None


def _written(answer: dict[str, Any]) -> bytes:
    """Return an answer as JSON; its data are that already."""
    data = answer.pop("data", None)
    text = json.dumps(answer)
    return (text if data is None else f'{text[:-1]}, "data": {data}}}').encode()
