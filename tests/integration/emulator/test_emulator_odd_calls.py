"""Calls that make no sense: each is refused in the words of its API, and none is an internal error."""

import json
import random
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.salesforce.emulator_http import Caller, calling

from exporter.emulator.server import Emulator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as served:
        yield served


@pytest.fixture
def caller(emulator: Emulator) -> Iterator[Caller]:
    with calling(emulator) as logged_in:
        yield logged_in


@pytest.mark.parametrize("version", ["x", "NaN", "inf", "-60.0", "1e1", "60.5", "999.0", "٦٠.0", "0"])
def test_a_version_that_there_is_not_is_refused_in_each_apis_words(
    emulator: Emulator, caller: Caller, version: str
) -> None:
    with calling(emulator, version) as other:
        answer = other.rest("GET", "limits")
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "NOT_FOUND")
        answer = other.bulk("GET", "job/750")
        assert answer.status_code == 400
        assert "<exceptionCode>InvalidVersion</exceptionCode>" in answer.text
    assert caller.rest("GET", "limits").status_code == 200


def test_retired_versions_are_gone(emulator: Emulator) -> None:
    with calling(emulator, "30.0") as other:
        assert (other.rest("GET", "limits").status_code, other.bulk("GET", "job/750").status_code) == (410, 400)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_json_of_many_levels_is_refused(caller: Caller, method: str) -> None:
    path = "sobjects/Account" if method == "POST" else "sobjects/Account/Ext_Id__c/x"
    answer = caller.rest(method, path, data=b"[" * 5000)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")


def test_a_limit_of_many_digits_is_malformed(caller: Caller) -> None:
    for digits, status in ((10, 200), (11, 400), (20, 400), (5000, 400)):
        query = "SELECT Id FROM Account LIMIT " + "9" * digits  # noqa: S608 - SOQL, with a number of ours
        answer = caller.rest("GET", "query", params={"q": query})
        assert answer.status_code == status
    assert answer.json()[0]["errorCode"] == "MALFORMED_QUERY"


KEYS = (
    *("Name", "Id", "attributes", "type", "records", "allOrNone", "Email", "Account", "Ext_Id__c", "Amount", "object"),
    *("operation", "contentType", "state", "externalIdFieldName", "query", "pattern", "action", "nth", "column"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e300, "", "x", "\ud800", "\x00", "#N/A", "ü" * 300, [], {}, [1], {"a": {"b": 1}}),
    *("insert", "upsert", "Account", "CSV", "2026-01-01", "001000000000001AAA", "T" * 140_000),
)
BODIES = (b"", b"{", b"\xff\xfe", b"<a/>", b'Name\n"x', b"Name\nx\n", b"grant_type=refresh_token&refresh_token=%ff")
PLACES = {
    "version": ("60.0", "31.0", "x"),
    "object": ("Account", "contact", "User", "Nope", "%00"),
    "id": ("001", "001000000000001AAA"),
    "key": ("Ext_Id__c", "Id", "Name", "x"),
    "value": ("a", "%ff", "%23N%2FA", "x" * 300),
    "api": ("u", "c", "m"),
}
QUERIES = (
    "",
    "?q=SELECT+Id+FROM+Account",
    "?q=SELECT",
    "?q=%00",
    "?ids=001000000000001AAA,%00",
    "?fields=Id,x",
    "?q=%ff",
)


def odd_body(chance: random.Random) -> bytes:
    if chance.random() < 0.4:
        return chance.choice(BODIES)
    given = {chance.choice(KEYS): chance.choice(VALUES) for _ in range(chance.randint(0, 5))}
    return json.dumps(given if chance.random() < 0.8 else [given]).encode()


@pytest.mark.parametrize("seed", range(4))
def test_no_call_of_chance_is_an_internal_error(emulator: Emulator, caller: Caller, seed: int) -> None:
    chance = random.Random(seed)
    routes = [
        route for route in emulator.gate.routes if not route.path.startswith(("/_emulator", "/services/oauth2/r"))
    ]
    for _ in range(150):
        route = chance.choice(routes)
        path = route.path
        for name in ("job", "batch", "result", "locator", "org"):
            path = path.replace(f"{{{name}}}", "750000000000001AAA")
        for name, choices in PLACES.items():
            path = path.replace(f"{{{name}}}", chance.choice(choices))
        headers = {
            "Authorization": f"Bearer {caller.token}",
            "Content-Type": chance.choice(("application/json", "application/xml", "text/csv", "")),
        }
        body = odd_body(chance)
        url = f"{emulator.url}{path}{chance.choice(QUERIES)}"
        answer = caller.session.request(
            route.method, url, data=body, headers=headers, timeout=30, allow_redirects=False
        )
        if "/Soap/" not in path:  # whose faults are all 500
            assert answer.status_code < 500, (route.method, path, body[:200], answer.text)
    assert caller.rest("GET", "limits").status_code == 200


@pytest.mark.parametrize(
    "lines",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",  # the first bytes of TLS
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"GET http://[ HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_ends_its_connection_only(emulator: Emulator, caller: Caller, lines: bytes) -> None:
    parts = urlsplit(emulator.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(lines)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    assert caller.rest("GET", "limits").status_code == 200
