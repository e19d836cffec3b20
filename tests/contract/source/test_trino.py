"""What only Trino has: its protocol, its types, its errors."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pydantic import SecretStr
from support.databases.trino_server import PASSWORD, TrinoServer, trino_server
from support.loopback.hostile import OK, Act, answering, bomb, dripping, flooding, hostile, mute, within
from support.loopback.network import make_authority, relaying
from support.properties import examples

from exporter.failures import ExportError, FailureKind
from exporter.settings.connection import TrinoConnection
from exporter.sources.source import Query
from exporter.sources.trino.source import TrinoSource
from exporter.targets.file.formats import check_columns

FIRST, PAGE, CANCEL = "^POST /v1/statement", "^GET /v1/statement/executing", "^DELETE /v1/statement/"


def source_of(server: TrinoServer, **others: object) -> TrinoSource:
    return source_at(**{"port": server.port, **others})


def source_at(**others: object) -> TrinoSource:
    address = {"host": "127.0.0.1", "http_scheme": "http", "user": "reader"}
    return TrinoSource(TrinoConnection.model_validate({"type": "trino", **address, **others}))


@pytest.fixture
def server() -> Iterator[TrinoServer]:
    with trino_server() as server:
        server.engine.execute("create table numbers as select n, md5(n::varchar) as name from range(30000) t(n)")
        yield server


@pytest.fixture
def source(server: TrinoServer) -> TrinoSource:
    return source_of(server)


def read(source: TrinoSource, sql: str, *, batch_rows: int = 1000, **parameters: object) -> pa.Table:
    with source.read(Query(sql=sql, parameters=parameters), batch_rows=batch_rows) as reader:
        return reader.read_all()


def only_row(source: TrinoSource, sql: str, **parameters: object) -> dict[str, Any]:
    [row] = read(source, sql, **parameters).to_pylist()
    return dict(row)


def fault_of(source: TrinoSource, sql: str = "select n from numbers", **parameters: object) -> ExportError:
    with pytest.raises(ExportError) as caught:
        read(source, sql, **parameters)
    assert PASSWORD not in caught.value.message
    return caught.value


KINDS: list[tuple[str, Any, pa.DataType, Any]] = [
    ("boolean", True, pa.bool_(), True),
    ("tinyint", -128, pa.int8(), -128),
    ("bigint", 2**63 - 1, pa.int64(), 2**63 - 1),
    ("real", 0.5, pa.float32(), 0.5),
    ("double", 0.1, pa.float64(), 0.1),
    ("double", "Infinity", pa.float64(), float("inf")),
    ("decimal(38,10)", "-1234567890123456789012345678.0100000000", pa.decimal128(38, 10), None),
    ("varchar(3)", "ü😀", pa.string(), "ü😀"),
    ("char(3)", "a  ", pa.string(), "a  "),
    ("varbinary", "AP8=", pa.binary(), b"\x00\xff"),
    ("json", '{"a":1.10}', pa.string(), '{"a":1.10}'),
    ("date", "2026-02-28", pa.date32(), date(2026, 2, 28)),
    ("time(0)", "23:59:59", pa.time64("us"), time(23, 59, 59)),
    ("time(9)", "23:59:59.123456789", pa.string(), "23:59:59.123456789"),
    ("time(3) with time zone", "01:02:03.000+02:00", pa.string(), "01:02:03.000+02:00"),
    ("timestamp(3)", "2026-11-01 01:30:00.123", pa.timestamp("us"), datetime(2026, 11, 1, 1, 30, 0, 123000)),  # noqa: DTZ001 - it has no zone
    ("timestamp(12)", "2026-11-01 01:30:00.123456789012", pa.string(), "2026-11-01 01:30:00.123456789012"),
    ("interval day to second", "2 00:00:00.000", pa.string(), "2 00:00:00.000"),
    ("uuid", "a3bb189e-8bf9-3888-9912-ace4e6543002", pa.string(), "a3bb189e-8bf9-3888-9912-ace4e6543002"),
    ("ipaddress", "::1", pa.string(), "::1"),
    ("unknown", None, pa.string(), None),
    ("array(decimal(3,2))", ["1.10", None], pa.string(), '["1.10", null]'),
    ("map(varchar, array(bigint))", {"ü": [1, 2**60]}, pa.string(), '{"ü": [1, 1152921504606846976]}'),
    (
        'row(a bigint, "b c" array(row(x varchar(3))))', [1, [["y"], None]], pa.string(),
        '{"a": 1, "b c": [{"x": "y"}, null]}',
    ),
    (
        "row(bigint, timestamp(3) with time zone)", [1, "2026-11-01 01:30:00.000 UTC"], pa.string(),
        '[1, "2026-11-01 01:30:00.000 UTC"]',
    ),
    ("row(a bigint, a json)", [1, '{"k": [1]}'], pa.string(), '[1, {"k": [1]}]'),
]  # fmt: skip


@pytest.mark.parametrize("case", KINDS, ids=[kind for kind, *_ in KINDS])
def test_every_value_comes_as_exact_as_it_is_sent(
    server: TrinoServer, source: TrinoSource, case: tuple[str, Any, pa.DataType, Any]
) -> None:
    kind, sent, arrow, value = case
    server.canned["select it"] = ([("it", kind)], [[sent], [None]])
    table = read(source, "select it")
    assert table.schema.field("it").type == arrow
    expected = Decimal(sent) if pa.types.is_decimal(arrow) else value
    assert table.column("it").to_pylist() == [expected, None]
    check_columns("csv", table.schema)
    check_columns("jsonl", table.schema)


@pytest.mark.parametrize(
    ("sent", "instant"),
    [
        (["2026-11-01 01:30:00.123456 UTC", None, "2026-11-01 01:30:00.000000 UTC"], "2026-11-01T01:30:00.123456"),
        (["2026-11-01 01:30:00.123456 +05:30"], "2026-10-31T20:00:00.123456"),
        (["2026-11-01 01:30:00.123456 -08:00", "2026-11-01 01:30:00.123456 UTC"], "2026-11-01T09:30:00.123456"),
        (
            ["2026-07-01 01:30:00.123456 Europe/Berlin", "2026-07-01 01:30:00.123456 +00:00"],
            "2026-06-30T23:30:00.123456",
        ),
    ],
)
def test_times_with_any_zone_are_instants(
    server: TrinoServer, source: TrinoSource, sent: list[str | None], instant: str
) -> None:
    server.canned["select it"] = ([("it", "timestamp(6) with time zone")], [[each] for each in sent])
    column = read(source, "select it").column("it")
    assert column.type == pa.timestamp("us", "UTC")
    assert column[0].as_py() == datetime.fromisoformat(instant).replace(tzinfo=UTC)


@pytest.mark.parametrize("zone", ["", " with time zone"])
def test_nanoseconds_are_kept(server: TrinoServer, source: TrinoSource, zone: str) -> None:
    sent = f"2026-11-01 01:30:00.123456789{' UTC' if zone else ''}"
    server.canned["select it"] = ([("it", f"timestamp(9){zone}")], [[sent]])
    column = read(source, "select it").column("it")
    assert column.cast(pa.int64()).to_pylist() == [1793496600123456789]


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("timestamp(3)", "+12026-11-01 01:30:00.123"),
        ("timestamp(9)", "2300-01-01 00:00:00.000000000"),
        ("timestamp(6) with time zone", "2026-11-01 01:30:00.000000 Nowhere/Land"),
        ("date", "-0001-01-01"),
    ],
)
def test_a_value_that_has_no_form_here_is_configuration_and_not_shown(
    server: TrinoServer, source: TrinoSource, kind: str, sent: str
) -> None:
    server.canned["select it"] = ([("it", kind)], [[sent]])
    fault = fault_of(source, "select it")
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "VALUE_NOT_SUPPORTED")
    assert "it" in fault.message
    assert sent not in fault.message


@pytest.mark.parametrize(
    "rows", [[[1, "a"], [2]], [[1], [2]], [[1, "a"], [2, "secret", 3]], [[1, "a", 0]], [[1, "a"], None], [[1, "a"], 7]]
)
def test_a_row_that_does_not_fit_its_columns_is_a_named_failure(
    server: TrinoServer, source: TrinoSource, rows: list[Any]
) -> None:
    server.canned["select it"] = ([("n", "bigint"), ("name", "varchar")], rows)
    fault = fault_of(source, "select it")
    assert (fault.kind, fault.code) == (FailureKind.TRANSIENT, "UNREADABLE_ANSWER")
    assert "secret" not in fault.message


@examples(40, suppress=(HealthCheck.function_scoped_fixture,))
@given(text=st.text(alphabet="a'\"\\%s$?:\n;`#-é😀 ", max_size=12))
def test_any_text_is_bound_as_it_is(source: TrinoSource, text: str) -> None:
    row = only_row(source, "select $text as t, '$text ? 100%' as s, $text as u -- $text ?", text=text)
    assert row == {"t": text, "s": "$text ? 100%", "u": text}


@pytest.mark.parametrize("immediate", [True, False])
def test_values_are_bound_as_what_they_are_by_new_and_old_clusters(*, immediate: bool) -> None:
    with trino_server(immediate=immediate) as server:
        slot = datetime(2026, 11, 23, 3, tzinfo=UTC)
        row = only_row(
            source_of(server),
            "select $s as s, $i as i, $n as n, $b as b, $f as f, $big as big",
            s=slot, i=-7, n=None, b=True, f=1.5, big=2**70,
        )  # fmt: skip
        assert row == {"s": slot, "i": -7, "n": None, "b": True, "f": 1.5, "big": 2**70}
        posted = [statement.sql.partition(" ")[0] for statement in server.statements.values()]
        assert ("PREPARE" in posted) is not immediate
        assert server.running() == []


def test_the_session_is_in_utc_and_in_the_catalog_and_schema_of_the_settings(server: TrinoServer) -> None:
    only_row(source_of(server, catalog="hive", schema="sales"), "select 1 as x")
    headers = list(server.statements.values())[-1].headers
    asked = {name: headers.get(f"x-trino-{name}") for name in ("user", "source", "catalog", "schema", "time-zone")}
    assert asked == {"user": "reader", "source": "schedctl", "catalog": "hive", "schema": "sales", "time-zone": "UTC"}
    assert "x-trino-query-data-encoding" not in headers


@pytest.mark.parametrize("leave", ["break", "raise", "value"])
def test_a_query_that_is_left_is_ended_over_there(server: TrinoServer, source: TrinoSource, leave: str) -> None:
    try:
        with source.read(Query(sql="select n from numbers"), batch_rows=10) as reader:
            assert reader.read_next_batch().num_rows == 10
            if leave == "raise":
                raise KeyError(leave)
    except KeyError:
        pass
    assert any(call.startswith("DELETE") for call in server.calls)
    assert server.running() == []


def test_a_canceled_query_is_ended_over_there(server: TrinoServer, source: TrinoSource) -> None:
    endless = "select n.n from numbers n, numbers m, numbers o where sqrt(n.n + m.n) = o.n + 0.5"
    outcome = list[ExportError]()
    thread = threading.Thread(target=lambda: outcome.append(fault_of(source, endless)))
    thread.start()
    while thread.is_alive():
        source.cancel()
        thread.join(0.05)
    assert (outcome[0].kind, outcome[0].code) == (FailureKind.TRANSIENT, "QUERY_CANCELED")
    assert server.running() == []


def test_one_cancel_is_enough_before_the_first_answer_too(
    server: TrinoServer, source: TrinoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted, go_on = threading.Event(), threading.Event()
    post = server.post

    def late(*arguments: Any) -> Any:
        posted.set()
        go_on.wait(30)
        return post(*arguments)

    monkeypatch.setattr(server, "post", late)
    outcome = list[ExportError]()
    thread = threading.Thread(target=lambda: outcome.append(fault_of(source)))
    thread.start()
    assert posted.wait(30)
    source.cancel()
    go_on.set()
    thread.join(30)
    assert [fault.code for fault in outcome] == ["QUERY_CANCELED"]
    assert server.running() == []


def test_a_query_that_somebody_else_ends_is_transient(server: TrinoServer, source: TrinoSource) -> None:
    with source.read(Query(sql="select n from numbers"), batch_rows=10) as reader:
        reader.read_next_batch()
        for statement in server.running():
            server.cancel(statement)
        with pytest.raises(ExportError, match="QUERY_CANCELED"):
            reader.read_all()


@pytest.mark.parametrize(
    "what", [{"lost": True}, {"cut": 100}, {"status": 503}, {"status": 429, "headers": {"Retry-After": "0"}}]
)
@pytest.mark.parametrize("call", [FIRST, PAGE])
def test_what_passes_by_itself_costs_no_row_and_doubles_none(
    server: TrinoServer, source: TrinoSource, call: str, what: dict[str, Any]
) -> None:
    server.plant(call, **what)
    server.plant(PAGE, after=7, **what)
    assert read(source, "select n from numbers order by n").column("n").to_pylist() == list(range(30_000))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each call twice at most: the pauses between five take seconds."""
    monkeypatch.setattr("exporter.sources.trino.source._CALLS", 2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("call", [FIRST, PAGE])
@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({"lost": True}, "CONNECTION_LOST"),
        ({"cut": 100}, "CONNECTION_LOST"),
        ({"status": 503}, "HTTP_503"),
        ({"status": 500}, "HTTP_500"),
    ],
)
def test_what_does_not_pass_is_transient(
    server: TrinoServer, source: TrinoSource, call: str, what: dict[str, Any], code: str
) -> None:
    server.plant(call, times=99, **what)
    fault = fault_of(source)
    assert (fault.kind, fault.code) == (FailureKind.TRANSIENT, code)


def test_a_page_that_ends_in_the_middle_is_never_a_shorter_result(server: TrinoServer, source: TrinoSource) -> None:
    server.plant(PAGE, cut=500, times=99, after=3)
    assert fault_of(source).kind is FailureKind.TRANSIENT
    assert server.faults[0].times == 99 - 5


def test_a_wrong_password_and_a_wrong_path_are_configuration() -> None:
    with trino_server(login=True) as server:
        source_of(server, password=SecretStr(PASSWORD)).check()
        for others in ({}, {"password": SecretStr("wrong")}):
            fault = fault_of(source_of(server, **others))
            assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "HTTP_401")
        server.plant(FIRST, status=404)
        assert fault_of(source_of(server, password=SecretStr(PASSWORD))).code == "HTTP_404"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("others", "kind", "code"),
    [
        ({"port": 1}, FailureKind.TRANSIENT, "CONNECTION_LOST"),
        ({"host": "no-such-host.invalid"}, FailureKind.TRANSIENT, "CONNECTION_LOST"),
        ({"http_scheme": "https", "ca_file": "/nowhere.pem"}, FailureKind.CONFIGURATION, "CA_FILE"),
    ],
)
def test_a_cluster_that_cannot_be_used(
    server: TrinoServer, others: dict[str, Any], kind: FailureKind, code: str
) -> None:
    with pytest.raises(ExportError) as caught:
        source_of(server, **others).check()
    assert (caught.value.kind, caught.value.code) == (kind, code)


def test_the_certificate_of_a_cluster_is_checked(server: TrinoServer, tmp_path: Path) -> None:
    ca_file, context = make_authority(tmp_path)
    with relaying(server.port, context) as relay:
        server.base = f"https://127.0.0.1:{relay.port}"
        tls = {"port": relay.port, "http_scheme": "https", "password": SecretStr(PASSWORD)}
        assert read(source_of(server, ca_file=str(ca_file), **tls), "select n from numbers").num_rows == 30_000
        fault = fault_of(source_of(server, **tls))
        assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "CERTIFICATE_REFUSED")
        assert "ca_file" in fault.message
        server.base = None
        fault = fault_of(source_of(server, ca_file=str(ca_file), **tls))
        assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "PLAIN_HTTP")


@pytest.mark.usefixtures("impatient")
def test_https_on_a_plain_port_is_configuration_and_names_the_scheme(server: TrinoServer) -> None:
    with pytest.raises(ExportError, match='http_scheme = "http"') as caught:
        source_of(server, http_scheme="https").check()
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "NO_TLS")


def test_what_is_no_trino_is_configuration() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            with closing(listener.accept()[0]) as caller:
                caller.recv(65_536)
                caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")

        thread = threading.Thread(target=serve)
        thread.start()
        address = {"host": "127.0.0.1", "port": listener.getsockname()[1], "http_scheme": "http", "user": "u"}
        with pytest.raises(ExportError, match="is no Trino") as caught:
            TrinoSource(TrinoConnection.model_validate({"type": "trino", **address})).check()
        thread.join()
    assert caught.value.kind is FailureKind.CONFIGURATION


def test_an_empty_result_has_its_columns(source: TrinoSource) -> None:
    table = read(source, "select n, name from numbers where false")
    assert (table.schema.names, table.num_rows) == (["n", "name"], 0)


@pytest.mark.parametrize(
    "act",
    [
        mute,
        dripping(OK + b"Content-Length: 100000\r\n\r\n", b" "),
        dripping(OK + b"X-Long: ", b"x"),
        flooding(OK + b"Connection: close\r\n\r\n", b" " * 65536),
        answering(OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n", bomb(200_000_000)),
        answering(OK + b"Connection: close\r\n\r\n" + b"[" * 200_000),
        answering(OK + b"Connection: close\r\n\r\n[]"),
        answering(OK + b"Connection: close\r\n\r\n7"),
        answering(OK + b'Connection: close\r\n\r\n{"id":"q","stats":[],"nextUri":7}'),
        answering(b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nConnection: close\r\n\r\n"),
    ],
)
def test_a_cluster_that_means_ill_is_a_failure_with_a_code(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.sources.trino.http_session.CALL_SECONDS", 0.3)
    with hostile(act) as server, pytest.raises(ExportError) as caught:
        source_at(port=server.port).check()
    assert caught.value.code in {"CONNECTION_LOST", "UNREADABLE_ANSWER", "NO_TRINO", "HTTP_302"}
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("act", [mute, dripping(OK + b"Content-Length: 100000\r\n\r\n", b" ")])
def test_a_cancel_waits_for_no_cluster_that_hangs(act: Act) -> None:
    with hostile(act) as server:
        source = source_at(port=server.port)
        threading.Thread(target=lambda: server.came.wait(20) and source.cancel(), daemon=True).start()

        def read() -> None:
            with pytest.raises(ExportError, match="QUERY_CANCELED"):
                source.check()

        within(25, read)  # one call has 30 s, and five tries


def test_pages_of_another_host_get_no_password() -> None:
    body = b'{"id":"q","infoUri":"x","stats":{"state":"QUEUED"},"warnings":[],"nextUri":"http://elsewhere.example/v1/statement/q/1"}'
    head = OK + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    with hostile(answering(head + body)) as server, pytest.raises(ExportError) as caught:
        source_at(port=server.port).check()
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "OTHER_HOST")
    assert "elsewhere.example" in caught.value.message
