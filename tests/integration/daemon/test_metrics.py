"""The metrics: what they say after runs that ended one way or another, over HTTP and as a file."""

import http.client
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.storage import NOON, at, claimed, new_run, stored

from exporter.events import Called
from scheduler.config.build import ConfigError, parse
from scheduler.config.sections import MetricsSettings
from scheduler.daemon.metrics_server import Metrics, Whole
from scheduler.nodes.process import this_node
from scheduler.observability.counters import METRICS, Meters
from storage import key_values, notices
from storage.database import Database, open_database, sqlite_url
from storage.jobs import jobs
from storage.runs import runs

DEFINITION = {"cron": "0 3 * * *", "export": {"connection": "crm"}}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Give a fresh state database."""
    database = open_database(sqlite_url(tmp_path / "state.db"))
    yield database
    database.close()


@pytest.fixture
def whole(database: Database, tmp_path: Path) -> Whole:
    """Give a node that has counted nothing yet, at ten minutes past noon."""
    node = this_node("daemon", NOON)
    return Whole(database=database, node=node, spool=tmp_path / "spool", clock=lambda: at(10), meters=Meters())


@pytest.fixture
def metrics(whole: Whole) -> Iterator[Metrics]:
    """Give the metrics of that node, which listen no longer afterwards."""
    metrics = Metrics(whole)
    yield metrics
    metrics.stop()


def values(text: str) -> dict[str, float]:
    """Read the text form: series to value."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def written(metrics: Metrics, path: Path) -> dict[str, float]:
    metrics.apply(MetricsSettings(textfile=str(path)))
    metrics.write()
    return values(path.read_text(encoding="utf-8"))


def test_runs_rows_and_lateness_are_counted_by_what_is_stored(
    whole: Whole, metrics: Metrics, database: Database, tmp_path: Path
) -> None:
    first = claimed(database, new_run("a"))
    whole.meters.began(first)
    with database.write() as session:
        failure = ("data", "BAD", "no")
        rows = (5, 3, 2, 0)
        runs.settle(session, first.id, first.token or "", now=at(1), outcome="partial", failure=failure, rows=rows)
        ended = runs.get_run(session, first.id)
    assert ended is not None
    whole.meters.ended(ended)
    late = claimed(database, new_run("b", -2))
    whole.meters.began(late)
    whole.meters.ended(late)
    found = written(metrics, tmp_path / "m.prom")
    assert found['schedctl_runs_total{job="a",outcome="partial"}'] == 1
    assert found['schedctl_rows_total{job="a",what="read"}'] == 5
    assert found['schedctl_rows_total{job="a",what="accepted"}'] == 3
    assert found['schedctl_rows_total{job="a",what="rejected"}'] == 2
    assert found['schedctl_attempts_postponed_total{job="b"}'] == 1
    assert found['schedctl_lateness_seconds_bucket{le="0.5"}'] == 1
    assert found['schedctl_lateness_seconds_bucket{le="300.0"}'] == 2
    assert found["schedctl_lateness_seconds_count"] == 2
    assert found["schedctl_lateness_seconds_sum"] == 120
    assert found["schedctl_runs_running"] == 1


def test_the_state_of_jobs_queue_config_notices_and_disk_is_told(
    metrics: Metrics, database: Database, tmp_path: Path
) -> None:
    with database.write() as session:
        for name in ("a", 'odd"name\\', "off"):
            jobs.put_job(session, name=name, origin="cli", definition=DEFINITION, now=NOON)
        jobs.put_job(session, name="by-hand", origin="cli", definition={"cron": ""}, now=NOON)
        jobs.disable_job(session, "off", by="daemon", reason="broken", now=NOON)
        jobs.record_outcome(session, "a", streak=2, last_success=at(-60))
        key_values.put(session, "config_fault", "line 3")
        key_values.put(session, "config_read_at", NOON.isoformat())
        notices.add(session, job="a", run_id=None, kind="failed", subject="s", body="b", now=at(3))
    stored(database, new_run("a", 1), new_run("a", 9), new_run("a", 20))
    found = written(metrics, tmp_path / "m.prom")
    assert found['schedctl_jobs{state="enabled"}'] == 2
    assert found['schedctl_jobs{state="auto_disabled"}'] == 1
    assert found['schedctl_jobs{state="unscheduled"}'] == 1
    assert found['schedctl_job_failure_streak{job="a"}'] == 2
    assert 'schedctl_job_failure_streak{job="odd\\"name\\\\"}' in found
    assert found['schedctl_job_last_success_timestamp_seconds{job="a"}'] == at(-60).timestamp()
    assert (found["schedctl_runs_waiting"], found["schedctl_runs_overdue"]) == (3, 1)
    assert found["schedctl_config_ok"] == 0
    assert found["schedctl_config_read_timestamp_seconds"] == NOON.timestamp()
    assert found["schedctl_notices_pending"] == 1
    assert found["schedctl_notices_oldest_timestamp_seconds"] == at(3).timestamp()
    assert found['schedctl_disk_free_bytes{of="spool"}'] > 0
    assert found['schedctl_disk_free_bytes{of="state"}'] > 0


def test_calls_bytes_and_what_salesforce_says_of_the_quota_are_counted_by_connection(
    whole: Whole, metrics: Metrics, tmp_path: Path
) -> None:
    whole.meters.called("crm", sent=10, received=20, quota=(18, 5000))
    whole.meters.called("crm", sent=1, received=2, quota=None)
    found = written(metrics, tmp_path / "m.prom")
    assert found['schedctl_api_calls_total{connection="crm"}'] == 2
    assert found['schedctl_sent_bytes_total{connection="crm"}'] == 11
    assert found['schedctl_received_bytes_total{connection="crm"}'] == 22
    assert found['schedctl_api_quota_used{connection="crm"}'] == 18
    assert found['schedctl_api_quota_limit{connection="crm"}'] == 5000
    assert Called(sent=1, received=2).quota is None


def test_every_metric_has_its_help_and_kind_in_the_text(metrics: Metrics, tmp_path: Path) -> None:
    written(metrics, tmp_path / "m.prom")
    text = (tmp_path / "m.prom").read_text(encoding="utf-8")
    assert set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) == set(METRICS)


def test_they_are_served_on_the_address_asked_for_and_no_longer_after_the_end(metrics: Metrics) -> None:
    metrics.apply(MetricsSettings(listen="127.0.0.1:0"))
    url = f"http://127.0.0.1:{metrics.port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert values(answer.read().decode())["schedctl_runs_running"] == 0
    metrics.apply(MetricsSettings())
    assert metrics.port is None
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=10)


def asked(port: int | None, path: str = "/metrics", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port or 0, timeout=10)
    with closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200),
        ("127.0.0.1", 200),
        ("[::1]:9464", 200),
        ("localhost:9464", 200),
        ("LOCALHOST.", 200),
        ("scheduler.example.com:9464", 200),
        (f"{socket.gethostname()}:9464", 200),
        ("192.0.2.7:9464", 200),
        ("elsewhere.example", 421),
        ("elsewhere.example:9464", 421),
        ("localhost.elsewhere.example", 421),
        ("127.0.0.1.elsewhere.example", 421),
        ("[::1", 421),
        ("", 421),
        ("a@localhost@b", 421),
    ],
)
def test_only_who_calls_this_machine_by_its_name_gets_them(metrics: Metrics, host: str, status: int) -> None:
    metrics.apply(MetricsSettings(listen="127.0.0.1:0", hosts=("scheduler.example.com",)))
    assert asked(metrics.port, Host=host)[0] == status


def test_they_are_at_one_path_in_the_format_asked_for(metrics: Metrics) -> None:
    metrics.apply(MetricsSettings(listen="127.0.0.1:0"))
    assert [asked(metrics.port, path)[0] for path in ("/", "/other", "/metrics/", "/metrics?name[]=x")] == [
        404,
        404,
        404,
        200,
    ]
    assert asked(metrics.port, Accept="application/openmetrics-text")[1].endswith("# EOF\n")


def test_callers_that_say_nothing_or_drip_are_hung_up_on_and_keep_nobody_out(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.daemon.metrics_server._SCRAPE_SECONDS", 1.5)
    metrics.apply(MetricsSettings(listen="127.0.0.1:0"))
    threads = threading.active_count()
    with ExitStack() as stack:
        callers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", metrics.port or 0), timeout=20))
            for _ in range(40)
        ]
        for caller in callers[:4]:
            caller.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        assert threading.active_count() < threads + 25
        over = threading.Event()

        def drip() -> None:
            while not over.wait(0.05):
                for caller in callers[:4]:
                    with suppress(OSError):
                        caller.sendall(b"x")

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        ended = [caller.recv(100) for caller in callers]
        over.set()
        dripping.join()
    assert sum(answer.startswith(b"HTTP/1.0 503") for answer in ended) >= 30
    assert asked(metrics.port)[0] == 200


def test_what_goes_wrong_is_logged_and_not_written_to_stderr(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failures: list[dict[str, object]] = []
    monkeypatch.setattr(
        "scheduler.daemon.metrics_server.log",
        SimpleNamespace(
            info=lambda *_a, **_k: None, error=lambda event, **rest: failures.append({"event": event, **rest})
        ),
    )
    monkeypatch.setattr(metrics, "collect", lambda: 1 / 0)
    metrics.apply(MetricsSettings(listen="127.0.0.1:0"))
    with pytest.raises(http.client.RemoteDisconnected):
        asked(metrics.port)
    assert failures == [{"event": "metrics.failed", "message": "ZeroDivisionError: division by zero"}]
    assert capfd.readouterr().err == ""


def test_an_address_that_is_taken_is_told_and_ends_nothing(metrics: Metrics, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        metrics.apply(MetricsSettings(listen=f"127.0.0.1:{holder.getsockname()[1]}"))
        port = holder.getsockname()[1]
    assert metrics.port is None
    assert metrics.fault == f"metrics.listen = 127.0.0.1:{port}: Address already in use; free or change it, then reload"
    assert written(metrics, tmp_path / "m.prom")
    assert metrics.fault == ""
    metrics.apply(MetricsSettings(textfile=str(tmp_path / "none" / "m.prom")))
    metrics.write()
    assert metrics.fault.startswith(f"metrics.textfile = {tmp_path}/none/m.prom: ")
    assert written(metrics, tmp_path / "m.prom")
    assert metrics.fault == ""


def test_without_the_database_the_rest_is_still_told(metrics: Metrics, tmp_path: Path) -> None:
    (tmp_path / "state.db").unlink()
    found = written(metrics, tmp_path / "m.prom")
    assert "schedctl_claims_lost_total" in found
    assert "schedctl_runs_running" not in found
    assert found["schedctl_storage_up"] == 0


def test_a_database_that_can_be_read_but_refuses_what_the_daemon_writes_is_not_up(
    whole: Whole, metrics: Metrics, tmp_path: Path
) -> None:
    assert written(metrics, tmp_path / "m.prom")["schedctl_storage_up"] == 1
    found = written(Metrics(replace(whole, refuses=lambda: True)), tmp_path / "m.prom")
    assert (found["schedctl_storage_up"], found["schedctl_runs_running"]) == (0, 0)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('listen = "0.0.0.0:9464"', "others can reach"),
        ('listen = "[::]:9464"', "others can reach"),
        ('listen = "example.com:9464"', "others can reach"),
        ('listen = "9464"', "address and a port"),
        ('listen = "127.0.0.1:70000"', "address and a port"),
        ("port = 9464", "port"),
    ],
)
def test_an_address_that_others_can_reach_has_to_be_allowed(table: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        parse(f"[metrics]\n{table}")


def test_addresses_are_taken_as_they_are_written() -> None:
    assert parse('[metrics]\nlisten = "[::1]:1"').metrics.address == ("::1", 1)
    assert parse('[metrics]\nlisten = "0.0.0.0:1"\nallow_remote = true').metrics.address == ("0.0.0.0", 1)  # noqa: S104 - it is only read
    assert parse("").metrics.listen is None
