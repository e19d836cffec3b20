"""Answers that are odd but valid, or nobody's: each reader says that it cannot read them, and never crashes."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from exporter.failures import ExportError
from exporter.targets.salesforce.api import describe, query
from exporter.targets.salesforce.api.bulk2 import read_ingest
from exporter.targets.salesforce.api.row_results import read_results
from exporter.targets.salesforce.auth import identity, soap, token_response
from exporter.targets.salesforce.auth.token_response import Login
from exporter.targets.salesforce.http.http_session import Answer
from exporter.targets.salesforce.http.responses import (
    UnreadableAnswerError,
    parse_json,
    parse_xml,
    read_batch,
    read_batches,
    read_bulk_job,
    read_error,
    read_result_ids,
)


def asking(content: bytes) -> Any:
    """Give a session whose every answer is ``content``."""
    return SimpleNamespace(exchange=lambda *_args, **_options: Answer(content=content, date=None))


ORG: Any = SimpleNamespace(session_id="t", base_url="https://o.example/services/data/v62.0/")


class OneAnswer:
    """A client for whose every call the org has the same answer."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def call(self, act: Callable[[Any, Any], Any]) -> Any:
        return act(ORG, asking(self._content))


def client(content: bytes) -> Any:
    return cast("Any", OneAnswer(content))


READERS: dict[str, Callable[[bytes], object]] = {
    "token": token_response._read_token,
    "SOAP login": soap._read,
    "describe": lambda content: describe.describe(client(content), "Contact"),
    "objects": lambda content: describe.object_names(client(content)),
    "prefixes": lambda content: describe.key_prefixes(client(content)),
    "page": lambda content: query._get_page(ORG, asking(content), "https://o.example/x"),
    "job": read_bulk_job,
    "batch": read_batch,
    "batches": read_batches,
    "parts of a result": read_result_ids,
    "ingest job": read_ingest,
    "row results": lambda content: list(read_results(content)),
}
DEEP = 200_000
ODD: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \r\n ",
    "a page": b"<!DOCTYPE html><html><body>Sign in to the network</body></html>",
    "brackets": b"[" * DEEP,
    "whole brackets": b"[" * DEEP + b"]" * DEEP,
    "braces": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "many values": b"[" + b"0," * 3_000_000 + b"0]",
    "a long number": b'{"totalSize":' + b"9" * 5000 + b"}",
    "a large number": b'{"totalSize":1e999999999,"records":[],"id":1e99999}',
    "NaN": b'{"totalSize":NaN,"records":[],"numberRecordsProcessed":Infinity,"id":-Infinity}',
    "a key twice": b'{"id":"750000000000001","id":"750000000000002","state":"Open","totalSize":0,"records":[]}',
    "half a letter": b'{"id":"750000000000001","state":"\\ud800","totalSize":0,"records":[{"Id":"\\udc00"}]}',
    "no UTF-8": b'{"id":"\xff\xfe"}',
    "UTF-16": '{"id":"750000000000001"}'.encode("utf-16"),
    "null": b"null",
    "a number": b"1",
    "a text": b'"x"',
    "a list": b"[]",
    "a list of lists": b'{"sobjects":[[]],"fields":[[]],"records":[[]],"totalSize":1}',
    "names that are none": b'{"sobjects":[{"name":1}],"fields":[{"name":1}],"name":2,"records":[1],"totalSize":1}',
    "a NUL": b'{"id":"7500\x0000000001"}',
    "deep XML": b"<a>" * DEEP + b"</a>" * DEEP,
    "wide XML": b"<a>" + b"<b/>" * 500_000 + b"</a>",
    "XML cut short": b"<jobInfo><id>750000000000001</id>",
    "an encoding that nobody knows": b'<?xml version="1.0" encoding="x-none"?><a/>',
    "an encoding of many bytes": b'<?xml version="1.0" encoding="utf-7"?><a/>',
    "a document type": b'<!DOCTYPE a [<!ENTITY b "c">]><jobInfo><id>750000000000001</id><state>&b;</state></jobInfo>',
    "entities that grow": b"<!DOCTYPE a ["
    b'<!ENTITY e0 "xxxxxxxxxx">'
    + b"".join(b'<!ENTITY e%d "%b">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 10))
    + b"]><jobInfo><id>&e9;</id><state>Open</state></jobInfo>",
    "an Id that leads elsewhere": b'{"id":"../../x","state":"Open"}',
    "an Id with a slash": b"<r><id>75000000000/001</id><state>Open</state><result>752/../x</result></r>",
    "an Id that is too long": b"<r><id>" + b"7" * 5000 + b"</id><state>Open</state></r>",
    "a CSV of nobody": b'"a","b"\n1,2\n',
    "half a CSV": b'"Id","Success","Created","Error"\n"001000000000001',
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_takes_no_odd_answer_for_its_own(reader: str, odd: str) -> None:
    with pytest.raises(UnreadableAnswerError) as caught:
        READERS[reader](ODD[odd])
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_is_an_error_without_a_code(odd: str) -> None:
    reported = read_error(ODD[odd])
    assert reported.code == ""
    assert len(reported.message) < 300


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_tells_no_user(odd: str) -> None:
    login = Login(token="t", instance_url="https://o.example", user_id="../../005")
    assert identity.ask_username(asking(ODD[odd]), login) is None


@pytest.mark.parametrize("padding", [0, 500, 5000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_document_type_is_found_behind_a_comment_and_in_every_encoding(encoding: str, padding: int) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!--{"x" * padding}--><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    with pytest.raises(UnreadableAnswerError, match=r"document type|not complete|no XML"):
        parse_xml(text.encode(encoding))
    if encoding in {"utf-8", "utf-16"}:
        with pytest.raises(UnreadableAnswerError, match="document type"):
            parse_xml(text.encode(encoding))


def test_what_is_valid_and_salesforces_is_read() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00", "b": 1.50, "c": 12345678901234567890}') == {
        "a": "😀",
        "b": parse_json(b"1.50"),
        "c": 12345678901234567890,
    }
    assert str(parse_json(b"1.50")) == "1.50"
    assert parse_xml(b'<?xml version="1.0" encoding="UTF-8"?><!-- hello --><a><b>1</b></a>').tag == "a"


@pytest.mark.parametrize(
    "following",
    [
        "https://elsewhere.example/services/data/v62.0/query/01g-2000",
        "//elsewhere.example/services/x",
        "@elsewhere.example/services/x",
        ".elsewhere.example/services/x",
        ":8080/services/x",
        "/other",
        "/services",
        "services/data",
        "/services/../secret",
        "/services/data/..%2f/../x",
        "/services/a b",
        "/services/a\r\nX: y",
        "/services/\\elsewhere.example",
        "/services/é",
        "/services/%2e%2e/x",
        "/services/%2E%2e/x",
        "/services/.%2e/x",
        "/services/%252e%252e/x",
        "/services/./x",
        "/services/data/..",
        "/services/..?a=b",
        "/services/data//x",
        "/services//elsewhere.example/x",
        "/services/%2f%2felsewhere.example/x",
        "/services/%5cx",
        "/services/..;/x",
        "/services/data;a=b/x",
        "/services/",
        "",
        7,
        ["/services/x"],
    ],
)
def test_the_next_page_is_asked_for_on_the_same_host_below_services(following: object) -> None:
    body = {"totalSize": 2, "done": False, "records": [{"Id": "1"}], "nextRecordsUrl": following}
    with pytest.raises(UnreadableAnswerError):
        query._get_page(ORG, asking(json.dumps(body).encode()), "https://o.example/x")


@pytest.mark.parametrize(
    "following",
    [
        "/services/data/v62.0/query/01gD0000002HU6KIAW-2000",
        "/services/data/v62.0/queryAll/0r8xx3Nx8Y7y~A_A-500",
        "/services/data/v62.0/query/01g.x?batch=2000&q=a%20b",
    ],
)
def test_the_addresses_of_next_pages_that_there_are_are_followed(following: str) -> None:
    body = {"totalSize": 2, "done": False, "records": [{"Id": "1"}], "nextRecordsUrl": following}
    assert query._get_page(ORG, asking(json.dumps(body).encode()), "https://o.example/x")["nextRecordsUrl"] == following


@pytest.mark.parametrize("user", ["..", "005/..", "%2e%2e", "?a", "", 7, None])
def test_a_user_of_a_login_that_is_no_id_leads_nowhere(user: object) -> None:
    body = {"access_token": "t", "instance_url": "https://o.my.salesforce.com", "id": f"https://x/id/00D/{user}"}
    assert token_response._read_token(json.dumps(body).encode()).login.user_id is None
    xml = (
        "<a><serverUrl>https://o.my.salesforce.com/x</serverUrl><sessionId>t</sessionId>"
        f"<userId>{str(user).replace('<', '')}</userId></a>"
    )
    assert soap._read(xml.encode())[0].user_id is None


@pytest.mark.parametrize("name", ["..", "%2e%2e", "../limits", "A/../B", "A?b", "A b", "É"])
def test_a_name_of_an_object_that_no_object_has_is_no_describe(name: str) -> None:
    """It becomes part of the next address."""
    bad = json.dumps({"name": name, "fields": []}).encode()
    with pytest.raises(UnreadableAnswerError):
        describe.describe(client(bad), "Contact")
    parent = {"name": "AccountId", "relationshipName": "Account", "referenceTo": [name]}
    with pytest.raises(UnreadableAnswerError):
        describe.describe(client(json.dumps({"name": "Contact", "fields": [parent]}).encode()), "Contact")


@pytest.mark.parametrize("value", ['{"a":1}', "[1]", "1e9999", "NaN"])
def test_a_value_that_no_field_has_is_an_error(value: str, tmp_path: Any) -> None:
    body = f'{{"totalSize":1,"done":true,"records":[{{"Id":{value}}}]}}'.encode()
    with pytest.raises((ExportError, UnreadableAnswerError)):
        list(query.Queries(client(body), tmp_path).rows("SELECT Id FROM Contact", ["Id"]))


def test_a_code_or_message_without_end_is_not_passed_on() -> None:
    assert read_error(json.dumps([{"errorCode": "X" * 5000, "message": "m"}]).encode()).code == ""
    assert read_error(b'[{"errorCode":"A\\u001b[31m","message":"m"}]').code == ""
    found = read_error(json.dumps([{"errorCode": "X", "message": "m" * 100_000}]).encode())
    assert (found.code, len(found.message)) == ("X", 2001)
