import pytest

from exporter.failures import FailureKind
from exporter.sources.adbc.errors import adbc_fault

SQL = "select Email, cast(n as int) as i from Contacts where name = 'Ann'"
CONFIGURATION, TRANSIENT = FailureKind.CONFIGURATION, FailureKind.TRANSIENT


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        ("UNAUTHENTICATED", "token expired", CONFIGURATION),
        ("UNAUTHORIZED", "no grant on contacts", CONFIGURATION),
        ("INVALID_ARGUMENT", "unknown option", CONFIGURATION),
        ("NOT_FOUND", "no such table", CONFIGURATION),
        ("INVALID_STATE", "no query", CONFIGURATION),
        ("INVALID_DATA", "overflow", CONFIGURATION),
        ("NOT_IMPLEMENTED", "no interval", CONFIGURATION),
        ("IO", "dial tcp 127.0.0.1:1: connect: connection refused", TRANSIENT),
        ("IO", "tls: first record does not look like a TLS handshake", CONFIGURATION),
        ("IO", "x509: certificate signed by unknown authority", CONFIGURATION),
        ("IO", 'connection to server failed: FATAL: password authentication failed for user "u"', CONFIGURATION),
        ("TIMEOUT", "the statement was too slow", TRANSIENT),
        ("CANCELLED", "by an operator", TRANSIENT),
        ("INTERNAL", "plan error: attribute is missing from the schema", CONFIGURATION),
        ("INTERNAL", "transport is closing", TRANSIENT),
        ("INTERNAL", "Resource exhausted: out of memory", TRANSIENT),
        ("INTERNAL", 'no column "timeout"', CONFIGURATION),
        ("IO", "260000: account is empty", CONFIGURATION),
        ("IO", "390100: Incorrect username or password was specified.", CONFIGURATION),
        ("UNAUTHORIZED", "googleapi: Error 403: Quota exceeded, rateLimitExceeded", TRANSIENT),
        ("NOT_FOUND", "googleapi: Error 404: Not found: Table a.b, notFound", CONFIGURATION),
        ("INTERNAL", "Too many requests", TRANSIENT),
        ("INTERNAL", "Cannot call methods on a stopped SparkContext.", TRANSIENT),
        ("UNKNOWN", "EOF", TRANSIENT),
        ("UNKNOWN", "flight: no authorization header on the response", CONFIGURATION),
        ("", "connection reset by peer", TRANSIENT),
        ("", "Cast error", CONFIGURATION),
    ],
)
def test_the_code_decides_and_where_it_says_nothing_the_words(status: str, text: str, kind: FailureKind) -> None:
    fault = adbc_fault(status=status, text=f"{status}: [FlightSQL] {text}", sql=SQL)
    assert (fault.kind, fault.code) == (kind, f"ADBC_{status or 'ERROR'}")


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("42P01", CONFIGURATION),
        ("22P02", CONFIGURATION),
        ("57P01", TRANSIENT),
        ("08006", TRANSIENT),
        ("40001", TRANSIENT),
    ],
)
def test_a_state_of_the_engine_decides_where_adbc_only_says_internal(sqlstate: str, kind: FailureKind) -> None:
    fault = adbc_fault(status="INTERNAL", text="it broke", sql=SQL, sqlstate=sqlstate)
    assert (fault.kind, fault.code) == (kind, sqlstate)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Cannot cast string 'John Smith' to value of Int32 type", "Cannot cast string '…' to value of Int32 type"),
        ("Bad int64 value: John Smith lives here", "Bad int64 value: …"),
        ("Execution error: n29000", "Execution error: …"),
        ("Numeric value 'O'Hara' is not recognized", "Numeric value '…' is not recognized"),
        ('invalid input syntax for type integer: "no number"', 'invalid input syntax for type integer: "…"'),
        ("the name 'Ann' is no number", "the name '…' is no number"),
        ('column "email" must appear in GROUP BY', 'column "email" must appear in GROUP BY'),
        ("Object 'CONTACTS' does not exist", "Object 'CONTACTS' does not exist"),
        ("Table or view not found: contacts", "Table or view not found: contacts"),
        ('No table "x". Did you mean "contact_list"?', 'No table "…". Did you mean "contact_list"?'),
        ("it can't be, and it isn't", "it can't be, and it isn't"),
        ("syntax error at or near 'frm'", "syntax error at or near 'frm'"),
        ("Cannot cast it so\n\nLINE 1: select 'x'\n       ^", "Cannot cast it so"),
        (
            "It stopped at:\n\norg.apache.X.main(X.scala:7)\njava.base/java.lang.Y.invoke0(Native Method)",
            "It stopped at:",
        ),
        ("no plan\n\nJVM stacktrace:\njava.lang.X", "no plan"),
        ("Division by zero (Internal; DoGet: endpoint 0: [])", "Division by zero"),
    ],
)
def test_a_message_is_one_line_without_the_values_of_a_row(text: str, says: str) -> None:
    assert adbc_fault(status="INTERNAL", text=f"INTERNAL: [FlightSQL] {text}", sql=SQL).message == says


def test_spark_writes_its_state_and_its_plan_into_the_message() -> None:
    text = (
        "INTERNAL: [Spark] [TABLE_OR_VIEW_NOT_FOUND] The table or view `number` cannot be found. SQLSTATE: 42P01; "
        "line 1 pos 14;\n'Project ['n]\n+- 'UnresolvedRelation [number], [], false\n. Vendor code: 13"
    )
    fault = adbc_fault(status="INTERNAL", text=text, sql="select n from number")
    assert (fault.kind, fault.code) == (CONFIGURATION, "42P01")
    assert fault.message == "[Spark] [TABLE_OR_VIEW_NOT_FOUND] The table or view `number` cannot be found"
    text = "[DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012\n== SQL (line 1, position 8) ==\nselect 1/0 as x\n^^^"
    assert adbc_fault(status="INTERNAL", text=text, sql=SQL).message.endswith("Division by zero")


def test_what_is_said_of_the_connection_is_kept_whole() -> None:
    text = 'IO: [FlightSQL] connection error: desc = "transport: tls: bad" (Unavailable; ExecuteQuery). Vendor code: 14'
    assert adbc_fault(status="IO", text=text, sql=SQL).message == 'connection error: desc = "transport: tls: bad"'
    text = "INVALID_ARGUMENT: [Flight SQL] [Flight SQL] Unknown database option 'adbc.x'"
    assert adbc_fault(status="INVALID_ARGUMENT", text=text, sql="").message == "Unknown database option 'adbc.x'"


def test_a_code_of_the_engine_is_kept_and_a_long_message_is_cut() -> None:
    fault = adbc_fault(status="INVALID_ARGUMENT", text="x " * 1000, sql=SQL, sqlstate="42P01")
    assert fault.code == "42P01"
    assert len(fault.message) < 600
    assert adbc_fault(status="INTERNAL", text="x", sql=SQL, sqlstate="00000").code == "ADBC_INTERNAL"
