import json

import pytest

from exporter.failures import FailureKind
from exporter.sources.treasure_data.errors import answer_fault, conflicting_job, job_fault, job_killed

HIVE_STACK = """
Task with the most failures(4):
Diagnostic Messages for this Task:
Error: java.lang.RuntimeException: Hive Runtime Error while processing row {"email":"ann@example.com","age":7}
	at org.apache.hadoop.hive.ql.exec.mr.ExecMapper.map(ExecMapper.java:172)
	at java.lang.Thread.run(Thread.java:745)
"""


@pytest.mark.parametrize(
    ("cmdout", "stderr", "kind", "message"),
    [
        (
            "executing query: SELECT x FROM t\n",
            "Query 20261124_000001_00001_abcde failed: line 1:8: Column 'x' cannot be resolved\n",
            FailureKind.CONFIGURATION,
            "line 1:8: Column 'x' cannot be resolved",
        ),
        (
            "started at 2026-11-24\nQuery 20261124_1 failed: line 1:15: Table 'td.shop.gone' does not exist\n",
            "",
            FailureKind.CONFIGURATION,
            "line 1:15: Table 'td.shop.gone' does not exist",
        ),
        (
            "",
            "Query 2 failed: Cannot cast 'ann@x.org' to BIGINT",
            FailureKind.CONFIGURATION,
            "Cannot cast '…' to BIGINT",
        ),
        (
            "",
            'Query 2 failed: INVALID_FUNCTION_ARGUMENT: Invalid format: "7 Main St" is malformed',
            FailureKind.CONFIGURATION,
            "INVALID_FUNCTION_ARGUMENT: Invalid format: '…' is malformed",
        ),
        (
            "",
            "Query 2 failed: Cannot cast 'it's \"ann@x.org' to BIGINT",
            FailureKind.CONFIGURATION,
            "Cannot cast '…' to BIGINT",
        ),
        (
            "",
            "Query 2 failed: Value cannot be cast to date: ann@x.org",
            FailureKind.CONFIGURATION,
            "Value cannot be cast to date: …",
        ),
        (
            "",
            "Query 2 failed: Time zone not supported: ann@x.org",
            FailureKind.CONFIGURATION,
            "Time zone not supported: …",
        ),
        (
            "",
            "Query 2 failed: bigint multiplication overflow: 9988776655 * -9988776655",
            FailureKind.CONFIGURATION,
            "bigint multiplication overflow: … * …",
        ),
        (
            "",
            "Query 2 failed: Query exceeded per-node memory limit of 10GB",
            FailureKind.TRANSIENT,
            "Query exceeded per-node memory limit of 10GB",
        ),
        (
            "",
            "Query 2 failed: Encountered too many errors talking to a worker node",
            FailureKind.TRANSIENT,
            "Encountered too many errors talking to a worker node",
        ),
        (
            "",
            "FAILED: SemanticException [Error 10004]: Line 1:7 Invalid table alias or column reference 'x'\n",
            FailureKind.CONFIGURATION,
            "FAILED: SemanticException [Error 10004]: Line 1:7 Invalid table alias or column reference 'x'",
        ),
        (
            "",
            HIVE_STACK,
            FailureKind.CONFIGURATION,
            "Error: java.lang.RuntimeException: Hive Runtime Error while processing row '…'",
        ),
        ("only this\n\n", "", FailureKind.CONFIGURATION, "only this"),
        ("", "", FailureKind.CONFIGURATION, "it gives no reason; see its output log"),
    ],
)
def test_a_failed_job_says_why_and_nothing_of_its_rows(
    cmdout: str, stderr: str, kind: FailureKind, message: str
) -> None:
    fault = job_fault("17", {"cmdout": cmdout, "stderr": stderr})
    assert (fault.kind, fault.code) == (kind, "JOB_FAILED")
    assert fault.message == f"Treasure Data job 17 failed: {message}"


def test_a_job_without_any_output_is_told_and_a_long_one_is_cut() -> None:
    assert "no reason" in job_fault("17", None).message
    assert len(job_fault("17", {"stderr": "Error: " + "x" * 10_000}).message) < 600
    killed = job_killed("17")
    assert (killed.kind, killed.code) == (FailureKind.TRANSIENT, "JOB_KILLED")
    assert "17" in killed.message


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (400, FailureKind.CONFIGURATION, "refused the call with 400"),
        (401, FailureKind.CONFIGURATION, "correct api_key"),
        (403, FailureKind.CONFIGURATION, "shop"),
        (404, FailureKind.CONFIGURATION, "database (shop)"),
        (422, FailureKind.CONFIGURATION, "refused"),
        (302, FailureKind.CONFIGURATION, "302"),
        (408, FailureKind.TRANSIENT, "408"),
        (429, FailureKind.TRANSIENT, "429"),
        (500, FailureKind.TRANSIENT, "500"),
        (503, FailureKind.TRANSIENT, "503"),
    ],
)
def test_each_status_has_its_kind(status: int, kind: FailureKind, says: str) -> None:
    body = json.dumps({"error": "the server's own words", "severity": "error"}).encode()
    fault = answer_fault(status, body, {}, host="api.example.com", database="shop")
    assert (fault.kind, fault.code) == (kind, f"HTTP_{status}")
    assert says in fault.message
    assert fault.message.endswith(": the server's own words")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": null}', b"\xff"])
def test_an_answer_that_is_for_no_person_is_left_out(body: bytes) -> None:
    fault = answer_fault(503, body, {"retry-after": "7"}, host="api.example.com", database="shop")
    assert (fault.message, fault.retry_after) == ("Treasure Data answered 503", 7.0)


@pytest.mark.parametrize("value", [None, "soon", "Wed, 25 Nov 2026 00:00:00 GMT", "-1", "9999999"])
def test_a_wait_that_is_no_number_of_seconds_is_none(value: str | None) -> None:
    headers = {} if value is None else {"retry-after": value}
    assert answer_fault(429, b"", headers, host="h", database="d").retry_after is None


@pytest.mark.parametrize(
    ("body", "job"),
    [
        (b'{"error": "taken", "details": {"conflicts_with": "123"}}', "123"),
        (b'{"error": "taken", "details": {"conflicts_with": 123}}', "123"),
        (b'{"error": "taken", "details": {}}', None),
        (b'{"error": "taken"}', None),
        (b'{"details": null}', None),
        (b"[]", None),
        (b"taken", None),
    ],
)
def test_a_conflict_names_its_job_or_nothing(body: bytes, job: str | None) -> None:
    assert conflicting_job(body) == job
