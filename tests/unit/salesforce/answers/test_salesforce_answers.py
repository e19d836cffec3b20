from datetime import UTC, datetime

import pytest

from exporter.targets.salesforce.http.responses import (
    BatchInfo,
    ReportedError,
    UnreadableAnswerError,
    bulk_job_request,
    read_batches,
    read_bulk_job,
    read_error,
)

NAMESPACE = b"http://www.force.com/2009/06/asyncapi/dataload"
SOAP_FAULT = (
    b'<soapenv:Envelope xmlns:soapenv="s" xmlns:sf="f"><soapenv:Body><soapenv:Fault>'
    b"<faultcode>sf:INVALID_LOGIN</faultcode><faultstring>INVALID_LOGIN: no</faultstring>"
    b"</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'[{"message":"Session expired","errorCode":"INVALID_SESSION_ID"}]', "INVALID_SESSION_ID", "Session expired"),
        (b'{"error":"invalid_grant","error_description":"no user"}', "invalid_grant", "no user"),
        (b'{"exceptionCode":"InvalidJob","exceptionMessage":"no job"}', "InvalidJob", "no job"),
        (
            b'<?xml version="1.0" encoding="UTF-8"?><error xmlns="' + NAMESPACE + b'"><exceptionCode>InvalidVersion'
            b"</exceptionCode><exceptionMessage>old &amp; gone</exceptionMessage></error>",
            "InvalidVersion",
            "old & gone",
        ),
        (
            SOAP_FAULT,
            "INVALID_LOGIN",
            "INVALID_LOGIN: no",
        ),
        (b'\xef\xbb\xbf[{"errorCode":"X"}]', "X", ""),
        (b"", "", "an empty answer"),
        (b"<html><head></head></html>", "", "a web page instead of an answer"),
        (b"<!DOCTYPE html><html>", "", "a web page instead of an answer"),
        (b"Bad Gateway", "", "an unexpected answer: Bad Gateway"),
        (b"[]", "", "an unexpected answer: []"),
        (b'{"error":', "", 'an unexpected answer: {"error":'),
        (b'["x"]', "", 'an unexpected answer: ["x"]'),
        (b'{"error": 5}', "", 'an unexpected answer: {"error": 5}'),
        (b"\xff\xfe", "", "an unexpected answer: \ufffd\ufffd"),
    ],
)
def test_errors_are_read_in_every_shape(body: bytes, code: str, message: str) -> None:
    assert read_error(body) == ReportedError(code=code, message=message)


def test_a_long_page_is_quoted_shortly() -> None:
    assert len(read_error(b"x" * 100_000).message) < 300


def test_a_bulk_job_is_read_with_its_age() -> None:
    body = (
        b'<jobInfo xmlns="'
        + NAMESPACE
        + b'"><id>750000000000001AAA</id><createdDate>2026-11-23T03:00:00.000Z</createdDate>'
        b"<state>Open</state></jobInfo>"
    )
    info = read_bulk_job(body)
    assert (info.id, info.state, info.created_at) == (
        "750000000000001AAA",
        "Open",
        datetime(2026, 11, 23, 3, tzinfo=UTC),
    )


def test_batches_are_read_in_their_order() -> None:
    body = (
        b'<batchInfoList xmlns="' + NAMESPACE + b'"><batchInfo><id>751000000000001</id><state>Failed</state>'
        b"<stateMessage>InvalidBatch : Field name not found : X</stateMessage>"
        b"<numberRecordsProcessed>0</numberRecordsProcessed></batchInfo>"
        b"<batchInfo><id>751000000000002AAA</id><state>Not Processed</state></batchInfo></batchInfoList>"
    )
    assert read_batches(body) == [
        BatchInfo(id="751000000000001", state="Failed", message="InvalidBatch : Field name not found : X", processed=0),
        BatchInfo(id="751000000000002AAA", state="NotProcessed", message="", processed=0),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<batchInfoList",
        b"<html></html>",
        b"<batchInfoList><batchInfo><id>1</id></batchInfo></batchInfoList>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><batchInfoList/>',
        b"{}",
    ],
)
def test_an_answer_that_is_cut_or_somebody_elses_is_no_empty_list(body: bytes) -> None:
    with pytest.raises(UnreadableAnswerError):
        read_batches(body)
    with pytest.raises(UnreadableAnswerError):
        read_bulk_job(body)


def test_a_request_names_only_what_is_given_and_escapes_it() -> None:
    body = bulk_job_request(operation="insert", object="A<B", externalIdFieldName=None, contentType="CSV")
    assert body.endswith(
        b"<operation>insert</operation><object>A&lt;B</object><contentType>CSV</contentType></jobInfo>"
    )
    assert NAMESPACE in body
