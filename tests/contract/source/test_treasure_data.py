import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.databases.td_server import DATABASE, KEY, TdServer
from support.loopback.hostile import OK, Act, answering, bomb, dripping, flooding, hostile, mute, within

from exporter.failures import ExportError, FailureKind
from exporter.settings.connection import SecretReference, TreasureDataConnection
from exporter.sources.registry import open_source
from exporter.sources.source import LeavableSource, Query
from exporter.sources.treasure_data.source import TreasureDataSource

ISSUE = "^POST /v3/job/issue/"
STATUS = "^GET /v3/job/status/"
SHOW = "^GET /v3/job/show/"
RESULT = "^GET /v3/job/result/"


@pytest.fixture
def server(treasure_data: TdServer) -> TdServer:
    treasure_data.engine.execute("create table numbers as select n, md5(n::varchar) as name from range(30000) t(n)")
    return treasure_data


def source_of(server: TdServer, *, spill: Path | None = None, **others: object) -> TreasureDataSource:
    settings = {"endpoint": server.url, "database": DATABASE, "initial_retry_delay": 0, **others}
    key = {"type": "treasure_data", "api_key": SecretStr(KEY)}
    return TreasureDataSource(TreasureDataConnection.model_validate({**key, **settings}), spill=spill)


def read(source: TreasureDataSource, sql: str, *, identity: str | None = None, **parameters: object) -> Any:
    query = Query(sql=sql, parameters=parameters, identity=identity)
    with source.read(query, batch_rows=1000) as reader:
        return reader.read_all()


def fault_of(source: TreasureDataSource, sql: str = "select 1 as x", **options: Any) -> ExportError:
    with pytest.raises(ExportError) as caught:
        read(source, sql, **options)
    assert KEY not in str(caught.value)
    return caught.value


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Reading:
    """A read in a thread of its own, and what came of it."""

    def __init__(self, source: TreasureDataSource, sql: str, identity: str | None) -> None:
        self.fault: ExportError | None = None
        self.rows = -1
        self._source = source
        self._thread = threading.Thread(target=self._read, args=(sql, identity))
        self._thread.start()

    def _read(self, sql: str, identity: str | None) -> None:
        try:
            self.rows = read(self._source, sql, identity=identity).num_rows
        except ExportError as error:
            self.fault = error

    def end(self) -> ExportError | None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.fault


@pytest.fixture
def held(server: TdServer) -> Iterator[TdServer]:
    """Jobs stay running until the test lets them go on."""
    server.go_on.clear()
    yield server
    server.go_on.set()


def begun(server: TdServer, identity: str | None = "run-1", calls: int = 3) -> tuple[TreasureDataSource, Reading]:
    source = source_of(server)
    reading = Reading(source, "select n from numbers", identity)
    until(lambda: len(server.calls) >= calls)
    return source, reading


def statuses(server: TdServer) -> list[str]:
    return [job.status for job in server.jobs.values()]


def test_values_and_nulls_of_each_type_come_through(server: TdServer) -> None:
    sql = """select 9223372036854775807 as big, 0.1::double as dbl, 'é' as txt, 12.50::decimal(10,2) as dec,
        true as yes, timestamp '2026-11-23 03:04:05.5' as at, timestamptz '2026-11-23 03:04:05+09' as utc,
        [1, 2] as arr, map {'a': 1} as map, null as nil"""
    (row,) = read(source_of(server), sql).to_pylist()
    assert row == {
        "big": 2**63 - 1,
        "dbl": 0.1,
        "txt": "é",
        "dec": Decimal("12.50"),
        "yes": True,
        "at": datetime(2026, 11, 23, 3, 4, 5, 500_000),  # noqa: DTZ001 - it has no zone
        "utc": datetime(2026, 11, 22, 18, 4, 5, tzinfo=UTC),
        "arr": "[1, 2]",
        "map": '{"a": 1}',
        "nil": None,
    }
    assert read(source_of(server), "select n, name from numbers where false").num_rows == 0


def test_parameters_arrive_as_they_were(server: TdServer) -> None:
    values = {"a": 'it\'s\r\n"x" -- é😀 $b', "b": -1.5, "c": True, "at": datetime(2026, 11, 23, 3, tzinfo=UTC)}
    (row,) = read(source_of(server), "select $a as a, $b as b, $c as c, $at as at", **values).to_pylist()
    assert row == values | {"a": values["a"]}


def test_a_job_is_issued_as_the_settings_say_and_with_its_slot(server: TdServer) -> None:
    source = source_of(server, engine="hive", priority=-2, query_retry_limit=3)
    slot = datetime(2026, 11, 23, 3, tzinfo=UTC)
    with source.read(Query(sql="select 1 as x", scheduled_time=slot), batch_rows=10) as reader:
        reader.read_all()
    (job,) = server.jobs.values()
    form = job.form
    assert re.fullmatch(r"[0-9a-f-]{36}", form.pop("domain_key"))
    scheduled = str(int(slot.timestamp()))
    assert form == {"query": "select 1 as x", "priority": "-2", "retry_limit": "3", "scheduled_time": scheduled}
    assert job.type == "hive"
    assert server.headers[0]["authorization"] == f"TD1 {KEY}"


@pytest.mark.parametrize(
    ("plant", "kind", "code"),
    [
        ({"status": 401}, FailureKind.CONFIGURATION, "HTTP_401"),
        ({"status": 403}, FailureKind.CONFIGURATION, "HTTP_403"),
        ({"status": 422}, FailureKind.CONFIGURATION, "HTTP_422"),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, FailureKind.CONFIGURATION, "HTTP_302"),
        ({"status": 429}, FailureKind.TRANSIENT, "HTTP_429"),
        ({"status": 500}, FailureKind.TRANSIENT, "HTTP_500"),
        ({"status": 503}, FailureKind.TRANSIENT, "HTTP_503"),
        ({"lost": True}, FailureKind.TRANSIENT, "CONNECTION_LOST"),
        ({"cut": 0}, FailureKind.TRANSIENT, "CONNECTION_LOST"),
    ],
)
@pytest.mark.parametrize("call", [ISSUE, STATUS, SHOW, RESULT])
def test_each_fault_of_each_call_has_its_kind(
    server: TdServer, call: str, plant: dict[str, Any], kind: FailureKind, code: str
) -> None:
    server.plant(call, times=99, **plant)
    fault = fault_of(source_of(server, retry_limit=1))
    assert (fault.kind, fault.code) == (kind, code)
    assert sum(bool(re.search(call, each)) for each in server.calls) == (1 if kind is FailureKind.CONFIGURATION else 2)
    assert len(server.jobs) <= 1


@pytest.mark.parametrize("call", [STATUS, SHOW, RESULT])
def test_a_job_that_is_no_longer_there_is_no_fault_of_the_settings(server: TdServer, call: str) -> None:
    server.plant(call, times=99, status=404)
    fault = fault_of(source_of(server))
    assert (fault.kind, fault.code) == (FailureKind.TRANSIENT, "JOB_GONE")
    assert next(iter(server.jobs)) in fault.message


@pytest.mark.parametrize("plant", [{"status": 503}, {"status": 429}, {"lost": True}, {"cut": 0}, {"cut": 3}])
@pytest.mark.parametrize("call", [ISSUE, STATUS, SHOW, RESULT])
def test_what_passes_is_got_over_with_one_job(server: TdServer, call: str, plant: dict[str, Any]) -> None:
    server.plant(call, times=2, **plant)
    assert read(source_of(server), "select n from numbers").num_rows == 30_000
    assert len(server.jobs) == 1


@pytest.mark.parametrize("named", [True, False])
def test_a_lost_answer_to_the_issue_leads_back_to_the_job(server: TdServer, *, named: bool) -> None:
    server.names_the_conflict = named
    server.plant(ISSUE, lost=True)
    assert read(source_of(server), "select 1 as x", identity="run-1").num_rows == 1
    assert len(server.jobs) == 1
    assert any("status_by_domain_key" in call for call in server.calls) is not named


def test_a_lost_answer_leads_back_to_a_job_that_failed_at_once(server: TdServer) -> None:
    server.plant(ISSUE, lost=True)
    assert fault_of(source_of(server), "select gone from numbers").code == "JOB_FAILED"
    assert len(server.jobs) == 1


def test_a_restart_takes_up_the_job_that_goes_on(held: TdServer) -> None:
    first, reading = begun(held)
    assert isinstance(first, LeavableSource)
    first.leave()
    fault = reading.end()
    assert fault is not None
    assert fault.code == "QUERY_CANCELED"
    assert statuses(held) == ["running"]
    second = Reading(source_of(held), "select n from numbers", "run-1")
    held.go_on.set()
    assert second.end() is None
    assert (second.rows, len(held.jobs)) == (30_000, 1)


def test_a_restart_takes_up_the_job_that_has_ended_meanwhile(server: TdServer) -> None:
    server.plant(RESULT, status=503, times=1)
    assert fault_of(source_of(server, retry_limit=0), "select n from numbers", identity="run-1").code == "HTTP_503"
    assert read(source_of(server), "select n from numbers", identity="run-1").num_rows == 30_000
    assert len(server.jobs) == 1


@pytest.mark.parametrize("plant", [{"status": 503}, {"lost": True}], ids=["before", "after"])
@pytest.mark.parametrize("after", range(4))
def test_a_process_that_ends_at_any_call_and_its_successors_share_one_job(
    server: TdServer, after: int, plant: dict[str, Any]
) -> None:
    server.plant(".", after=after, times=3, **plant)
    source = source_of(server, retry_limit=0)
    faults = [fault_of(source, "select n, name from numbers", identity="run-1") for _ in range(3)]
    assert {fault.kind for fault in faults} == {FailureKind.TRANSIENT}
    assert read(source, "select n, name from numbers", identity="run-1").num_rows == 30_000
    assert len(server.jobs) == 1


def test_a_job_that_failed_is_followed_by_another_and_that_by_a_third(server: TdServer) -> None:
    for _ in range(2):
        fault_of(source_of(server), "select n from later", identity="run-1")
    server.engine.execute("create table later as select 1 as n")
    assert read(source_of(server), "select n from later", identity="run-1").num_rows == 1
    assert statuses(server) == ["error", "error", "success"]


def test_other_runs_other_queries_and_no_identity_have_jobs_of_their_own(server: TdServer) -> None:
    source = source_of(server)
    for identity, sql in [("run-1", "select 1 as x"), ("run-2", "select 1 as x"), ("run-1", "select 2 as x")]:
        read(source, sql, identity=identity)
    read(source, "select 1 as x")
    read(source, "select 1 as x")
    read(source_of(server, engine="presto"), "select 1 as x", identity="run-1")
    assert len(server.jobs) == 6


def test_a_cancel_kills_the_job_even_if_the_first_calls_are_lost(held: TdServer) -> None:
    held.plant("^POST /v3/job/kill/", status=503, times=2)
    source, reading = begun(held)
    source.cancel()
    fault = reading.end()
    assert fault is not None
    assert (fault.kind, fault.code) == (FailureKind.TRANSIENT, "QUERY_CANCELED")
    assert statuses(held) == ["killed"]


@pytest.mark.parametrize("identity", ["run-1", None])
def test_a_cancel_kills_even_the_job_of_which_no_answer_came(held: TdServer, identity: str | None) -> None:
    held.plant(ISSUE, lost=True)
    held.plant(ISSUE, status=503, times=99, headers={"Retry-After": "100"})
    source, reading = begun(held, identity, calls=2)
    source.cancel()
    assert reading.end() is not None
    assert statuses(held) == ["killed"]


def test_a_leave_lets_even_the_job_alone_of_which_no_answer_came(held: TdServer) -> None:
    held.plant(ISSUE, lost=True)
    held.plant(ISSUE, status=503, times=99, headers={"Retry-After": "100"})
    source, reading = begun(held, calls=2)
    source.leave()
    assert reading.end() is not None
    assert statuses(held) == ["running"]


def test_a_cancel_ends_a_wait_between_two_tries_at_once(held: TdServer) -> None:
    held.plant(STATUS, status=503, times=99, headers={"Retry-After": "100"})
    source, reading = begun(held, calls=2)
    source.cancel()
    assert reading.end() is not None
    assert statuses(held) == ["killed"]


def test_a_job_that_somebody_killed_over_there_may_be_run_again(held: TdServer) -> None:
    _, reading = begun(held)
    (job,) = held.jobs.values()
    held.answer("POST", f"/v3/job/kill/{job.id}", {})
    fault = reading.end()
    assert fault is not None
    assert (fault.kind, fault.code) == (FailureKind.TRANSIENT, "JOB_KILLED")
    assert job.id in fault.message
    held.go_on.set()
    assert read(source_of(held), "select n from numbers", identity="run-1").num_rows == 30_000


def test_a_job_that_nobody_will_take_up_is_killed_when_its_reader_gives_up(held: TdServer) -> None:
    held.plant(STATUS, status=401)
    assert fault_of(source_of(held)).code == "HTTP_401"
    assert statuses(held) == ["killed"]


def test_a_job_that_is_taken_up_later_is_left_alone_when_its_reader_gives_up(held: TdServer) -> None:
    held.plant(STATUS, status=503)
    assert fault_of(source_of(held, retry_limit=0), identity="run-1").code == "HTTP_503"
    assert statuses(held) == ["running"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_goes_on_where_it_stopped_or_begins_again(server: TdServer, *, ranges: bool) -> None:
    server.plant(RESULT, cut=200_000)
    server.plant(RESULT, cut=150_000, ranges=ranges)
    server.plant(RESULT, cut=0)
    source = source_of(server, retry_limit=3)
    names = read(source, "select name from numbers order by n").column("name").to_pylist()
    assert (len(names), names[0]) == (30_000, "cfcd208495d565ef66e7dff9f98764da")
    asked = [
        headers.get("range")
        for call, headers in zip(server.calls, server.headers, strict=True)
        if re.search(RESULT, call)
    ]
    assert asked[0] is None
    assert all(each is not None and each.startswith("bytes=") for each in asked[1:])
    assert len(asked) == 4


def test_a_range_that_is_refused_begins_the_download_again(server: TdServer) -> None:
    server.plant(RESULT, cut=100_000)
    server.plant(RESULT, status=416)
    assert read(source_of(server), "select n, name from numbers").num_rows == 30_000


def test_the_result_lies_in_the_given_directory_without_a_name(server: TdServer, tmp_path: Path) -> None:
    source = source_of(server, spill=tmp_path)
    with source.read(Query(sql="select n from numbers"), batch_rows=1000) as reader:
        assert reader.read_next_batch().num_rows == 1000
        assert list(tmp_path.iterdir()) == []
    missing = source_of(server, spill=tmp_path / "missing")
    assert fault_of(missing).code == "DISK_ERROR"


def test_what_the_reader_raises_is_its_own(server: TdServer) -> None:
    with pytest.raises(OSError, match="ours"), source_of(server).read(Query(sql="select 1 as x"), batch_rows=10):
        raise OSError(28, "ours")


def test_no_server_is_transient_and_a_key_that_no_header_holds_is_never_shown(server: TdServer) -> None:
    fault = fault_of(source_of(server, endpoint="http://127.0.0.1:1", retry_limit=0))
    assert (fault.kind, fault.code) == (FailureKind.TRANSIENT, "CONNECTION_LOST")
    assert "refused" in fault.message
    fault = fault_of(source_of(server, api_key=SecretStr("1/secret\nX: y")))
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "API_KEY_MALFORMED")
    assert "secret" not in str(fault)
    fault = fault_of(source_of(server, api_key=SecretReference(env="TD_API_KEY")))
    assert fault.kind is FailureKind.INTERNAL


def test_an_answer_of_somebody_else_is_transient_and_not_shown(server: TdServer) -> None:
    source = source_of(server, retry_limit=0)
    server.answer = lambda *_: (200, b"<html>private</html>")  # type: ignore[method-assign] # a proxy's page
    fault = fault_of(source)
    assert (fault.kind, fault.code) == (FailureKind.TRANSIENT, "UNREADABLE_ANSWER")
    assert "private" not in fault.message


def test_a_database_that_is_not_there_is_configuration(server: TdServer) -> None:
    source = source_of(server, database="gone")
    for attempt in (source.check, lambda: read(source, "select 1 as x")):
        with pytest.raises(ExportError, match="HTTP_404") as caught:
            attempt()
        assert caught.value.kind is FailureKind.CONFIGURATION
        assert "gone" in caught.value.message


def test_the_environment_s_proxy_is_used_for_its_scheme_alone(
    server: TdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert read(source_of(server), "select 1 as x").num_rows == 1
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert fault_of(source_of(server, retry_limit=0)).code == "CONNECTION_LOST"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert read(source_of(server), "select 1 as x").num_rows == 1


def test_the_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TreasureDataConnection(type="treasure_data", api_key=SecretStr(KEY), database=DATABASE)
    monkeypatch.delitem(sys.modules, "exporter.sources.treasure_data.source")
    monkeypatch.delitem(sys.modules, "exporter.sources.treasure_data.client")
    monkeypatch.setitem(sys.modules, "tdclient.api", None)
    with pytest.raises(ExportError, match=r"schedctl\[treasure-data\]") as caught:
        open_source(settings)
    assert caught.value.code == "DRIVER_MISSING"


MEASURED = """
import resource, sys
from pydantic import SecretStr
from exporter.settings.connection import TreasureDataConnection
from exporter.sources.source import Query
from exporter.sources.treasure_data.source import TreasureDataSource
url, key, database, rows = sys.argv[1:]
settings = TreasureDataConnection(type="treasure_data", api_key=SecretStr(key), database=database, endpoint=url)
sql = f"select range as n, repeat(md5(range::varchar), 6) as a from range({rows})"
with TreasureDataSource(settings).read(Query(sql=sql), batch_rows=1000) as reader:
    assert sum(batch.num_rows for batch in reader) == int(rows)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_result(server: TdServer) -> None:
    def used(rows: int) -> int:
        command = [sys.executable, "-c", MEASURED, server.url, KEY, DATABASE, str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return int(done.stdout)

    small, large = used(1_000), used(300_000)  # 0.2 MB and 60 MB of rows
    assert large - small < 20_000, f"{small} kB, then {large} kB"


def hostile_source(url: str) -> TreasureDataSource:
    settings = TreasureDataConnection(
        type="treasure_data",
        api_key=SecretStr(KEY),
        database=DATABASE,
        endpoint=url,
        retry_limit=0,
    )
    return TreasureDataSource(settings)


@pytest.mark.parametrize(
    "act",
    [
        mute,
        dripping(OK + b"Content-Length: 100000\r\n\r\n", b" "),
        dripping(OK + b"X-Long: ", b"x"),
        dripping(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n", b" "),
        flooding(OK + b"Connection: close\r\n\r\n", b" " * 65536),
        answering(OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n", bomb(200_000_000)),
        answering(OK + b"Connection: close\r\n\r\n" + b"[" * 200_000),
        answering(OK + b"Connection: close\r\n\r\n[]"),
        answering(OK + b"Connection: close\r\n\r\n" + b"9" * 5000),
        answering(OK + b'Connection: close\r\n\r\n{"tables":7}'),
        answering(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx"),
    ],
)
def test_a_server_that_means_ill_is_a_failure_that_may_pass(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.sources.treasure_data.client.READ_SECONDS", 0.3)
    with hostile(act) as server, pytest.raises(ExportError) as caught:
        hostile_source(server.url).check()
    assert caught.value.kind is FailureKind.TRANSIENT
    assert caught.value.code in {"TIMED_OUT", "UNREADABLE_ANSWER", "CONNECTION_LOST"}


@pytest.mark.parametrize("act", [mute, dripping(OK + b"Content-Length: 100000\r\n\r\n", b" ")])
@pytest.mark.parametrize("how", ["cancel", "leave"])
def test_a_stop_waits_for_no_server_that_hangs(act: Act, how: str) -> None:
    with hostile(act) as server:
        source = hostile_source(server.url)
        threading.Thread(target=lambda: server.came.wait(20) and getattr(source, how)(), daemon=True).start()

        def read() -> None:
            with pytest.raises(ExportError, match="QUERY_CANCELED"), source.read(Query(sql="select 1"), batch_rows=10):
                pass

        within(60, read)  # one answer has 120 s
