"""What only ADBC has: drivers by name or path, servers that bind nothing, types of Arrow, and a server that dies."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import _duckdb
import duckdb
import psutil
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr
from support.databases.sail import Sail, sail_server

from exporter.failures import ExportError, FailureKind
from exporter.settings.adbc import AdbcConnection
from exporter.settings.base import SecretReference
from exporter.settings.databases import DuckdbConnection
from exporter.sources.registry import open_source
from exporter.sources.source import Query, Source

ON_SAIL = pytest.mark.xdist_group("sail")


def source_of(driver: str, *, uri: object = None, directory: Path | None = None, **options: object) -> Source:
    settings = {"type": "adbc", "driver": driver, "options": options} | ({} if uri is None else {"uri": uri})
    return open_source(AdbcConnection.model_validate(settings), directory=directory)


@pytest.fixture
def on_sail(sail: Sail) -> Source:
    return source_of("flightsql", uri=sail.uri)


@pytest.fixture
def on_duckdb(tmp_path: Path) -> Source:
    path = tmp_path / "some.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table numbers as select n from range(100000) t(n)")
    return source_of("duckdb", path=str(path), access_mode="READ_ONLY")


def rows_of(source: Source, sql: str, **parameters: object) -> list[dict[str, Any]]:
    with source.read(Query(sql=sql, parameters=parameters), batch_rows=1000) as reader:
        return list(reader.read_all().to_pylist())


def fault_of(attempt: Callable[[], object]) -> ExportError:
    with pytest.raises(ExportError) as caught:
        attempt()
    return caught.value


def until(holds: Callable[[], object]) -> None:
    limit = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)


SLOT = datetime(2026, 11, 23, 3, 0, 0, 123456, tzinfo=UTC)
VALUES = {"slot": SLOT, "whole": -(2**63), "part": -0.1, "yes": True, "none": None, "text": "EU west-1"}
BOUND = (
    "select $slot as slot, $whole as whole, $part as part, $yes as yes, $none as none, '$text' as quoted, $text as text"
)


@ON_SAIL
@pytest.mark.parametrize("engine", ["on_sail", "on_duckdb"])
def test_values_arrive_as_they_are(engine: str, request: pytest.FixtureRequest) -> None:
    [row] = rows_of(request.getfixturevalue(engine), BOUND, **VALUES)
    assert row == {**VALUES, "quoted": "$text"}


@ON_SAIL
@pytest.mark.parametrize("engine", ["on_sail", "on_duckdb"])
@pytest.mark.parametrize(
    "text", ["it's", "a\\b", "\\' or 1=1 --", "'; drop table numbers --", "a\nb", "${env:HOME}", "ü😀'\"`", "", "\t"]
)
def test_no_text_is_anything_but_itself(engine: str, text: str, request: pytest.FixtureRequest) -> None:
    source = request.getfixturevalue(engine)
    assert rows_of(source, "select $text as a, length($text) as n", text=text) == [{"a": text, "n": len(text)}]


@ON_SAIL
def test_a_value_that_sail_has_no_form_for_is_refused_before_the_query(on_sail: Source) -> None:
    for value in (float("inf"), 2**64, "a\0b"):
        fault = fault_of(lambda value=value: rows_of(on_sail, "select $big as x", big=value))
        assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "PARAMETER_NOT_SUPPORTED")
        assert "$big" in fault.message


def test_a_time_is_not_written_for_a_server_whose_timestamps_have_no_zone(on_duckdb: Any) -> None:
    """DuckDB binds; here it stands for a server of the SQL standard that does not."""
    with on_duckdb._connection() as connection:
        fault = fault_of(lambda: on_duckdb._pasted(connection, "select $slot as x", {"slot": SLOT}))
        assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "PARAMETER_NOT_SUPPORTED")
        assert "$slot" in fault.message
        written = on_duckdb._pasted(connection, "select $a as x, $b as y", {"a": "it's", "b": "a\\b"})
        assert on_duckdb._answer(connection, written) == ["it's", "a\\b"]


@ON_SAIL
def test_a_column_of_blanks_for_a_name_is_refused_on_sail_too(on_sail: Source) -> None:
    assert fault_of(lambda: rows_of(on_sail, "select n as ` ` from numbers")).code == "COLUMN_WITHOUT_NAME"


@ON_SAIL
def test_types_of_sail_come_exact_and_nested_ones_as_json(on_sail: Source) -> None:
    sql = """select cast('12345678901234567890.12345678' as decimal(38, 8)) as d, date '2026-02-28' as day,
    timestamp '2026-11-01 01:30:00.123456+02:00' as tz, timestamp_ntz '2026-11-01 01:30:00' as ts,
    cast('x' as binary) as b, true as yes, cast(null as int) as none,
    array(1, null) as l, struct(1.50 as a, 'ü"' as b) as s, map('k', timestamp '2026-01-01 00:00:00+00:00') as m"""
    assert rows_of(on_sail, sql) == [
        {
            "d": Decimal("12345678901234567890.12345678"),
            "day": date(2026, 2, 28),
            "tz": datetime(2026, 10, 31, 23, 30, 0, 123456, tzinfo=UTC),
            "ts": datetime(2026, 11, 1, 1, 30),  # noqa: DTZ001 - it has no zone
            "b": b"x",
            "yes": True,
            "none": None,
            "l": "[1,null]",
            "s": '{"a":1.50,"b":"ü\\""}',
            "m": '{"k":"2026-01-01T00:00:00+00:00"}',
        }
    ]


@ON_SAIL
def test_a_cancel_reaches_the_server_which_then_rests(sail: Sail, on_sail: Source) -> None:
    endless = "select count(*) as n from range(100000000) a, range(100000000) b where sqrt(a.id + b.id) = 0.5"
    server, outcome = psutil.Process(sail.pid), list[ExportError]()
    busy = threading.Thread(target=lambda: outcome.append(fault_of(lambda: rows_of(on_sail, endless))))

    def works() -> bool:
        return server.cpu_percent(0.3) > 30

    busy.start()
    until(works)
    on_sail.cancel()
    busy.join(30)
    assert [fault.code for fault in outcome] == ["QUERY_CANCELED"]
    until(lambda: not works())


def test_a_server_that_dies_in_the_middle_may_come_back(tmp_path: Path) -> None:
    with sail_server(tmp_path) as server:
        source = source_of("flightsql", uri=server.uri)
        query = Query(sql="select id, sha2(cast(id as string), 512) as h from range(50000000)")
        with source.read(query, batch_rows=1000) as reader:
            reader.read_next_batch()
            psutil.Process(server.pid).kill()
            fault = fault_of(lambda: [batch.num_rows for batch in reader])
        assert fault.kind is FailureKind.TRANSIENT
    assert fault_of(source.check).kind is FailureKind.TRANSIENT


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        ("postgresql", "pip install adbc-driver-postgresql"),
        ("no_such-one", "pip install adbc-driver-no-such-one"),
        ("drivers/none.so", "drivers/none.so: correct the path"),
    ],
)
def test_a_driver_that_is_not_there_is_named_with_the_line_that_installs_it(driver: str, says: str) -> None:
    fault = fault_of(lambda: source_of(driver))
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "DRIVER_MISSING")
    assert fault.message.endswith(says)


@pytest.mark.parametrize(
    ("driver", "extra"), [("flightsql", "adbc"), ("snowflake", "snowflake"), ("bigquery", "bigquery"), ("x", "adbc")]
)
def test_without_the_driver_manager_the_extra_is_named(driver: str, extra: str) -> None:
    """In a process of its own: this one has loaded it."""
    code = f"""
import sys
sys.modules["adbc_driver_manager"] = None
from exporter.settings.adbc import AdbcConnection
from exporter.sources.registry import open_source
open_source(AdbcConnection.model_validate({{"type": "adbc", "driver": "{driver}", "uri": "grpc://127.0.0.1:1"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"pip install 'schedctl[{extra}]'" in done.stderr.splitlines()[-1]


def test_a_driver_is_found_by_its_path_beside_the_config_file(tmp_path: Path) -> None:
    (tmp_path / "driver.so").symlink_to(str(_duckdb.__file__))
    source = source_of("driver.so", directory=tmp_path, entrypoint="duckdb_adbc_init")
    assert rows_of(source, "select 1 as x") == [{"x": 1}]


@pytest.mark.parametrize(("driver", "missing"), [("snowflake", "account is empty"), ("bigquery", "ProjectID is empty")])
def test_the_drivers_of_snowflake_and_bigquery_load_and_say_what_they_miss(driver: str, missing: str) -> None:
    """Nothing is called: they refuse before they look for a server."""
    fault = fault_of(source_of(driver).check)
    assert fault.kind is FailureKind.CONFIGURATION
    assert missing in fault.message


def test_bigquery_begins_a_query_as_bounded_as_it_should_be_and_hears_of_a_cancel() -> None:
    """It gets as far as to ask for a token, here of a server that never answers."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with socket.create_server(("127.0.0.1", 0)) as tokens:
        account = {
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "k",
            "private_key": key.decode(),
            "client_email": "a@p.iam.gserviceaccount.com",
            "token_uri": f"http://127.0.0.1:{tokens.getsockname()[1]}/token",
        }
        options = {
            "adbc.bigquery.sql.project_id": "p",
            "adbc.bigquery.sql.dataset_id": "d",
            "adbc.bigquery.sql.auth_type": "adbc.bigquery.sql.auth_type.json_credential_string",
            "adbc.bigquery.sql.auth_credentials": json.dumps(account),
        }
        options["adbc.bigquery.sql.query.prefetch_concurrency"] = "1"  # a number, as its driver knows it
        source, outcome = source_of("bigquery", **options), list[ExportError]()
        asking = threading.Thread(
            target=lambda: outcome.append(fault_of(lambda: rows_of(source, "select $n as n", n=1)))
        )
        asking.start()
        tokens.settimeout(30)
        with tokens.accept()[0]:
            assert asking.is_alive()
            source.cancel()
            asking.join(30)
    assert [fault.code for fault in outcome] == ["QUERY_CANCELED"]


def test_an_address_behind_a_reference_is_checked_when_it_is_known() -> None:
    with pytest.raises(ExportError, match="SECRET_UNRESOLVED"):
        source_of("flightsql", uri=SecretReference(env="URI"))
    settings = AdbcConnection(type="adbc", driver="flightsql", uri=SecretReference(env="URI"))
    known = settings.model_copy(update={"uri": SecretStr("grpc://sql.example.com:443")})
    with pytest.raises(ExportError, match="ADDRESS_NOT_SUPPORTED"):
        open_source(known)


def test_a_secret_that_a_driver_quotes_is_not_told() -> None:
    fault = fault_of(source_of("duckdb", access_mode="READ_ONLY", path="/none/s3cret-file.duckdb").check)
    assert "s3cret-file" in fault.message
    secret = source_of("duckdb", access_mode="READ_ONLY", path=SecretStr("/none/s3cret-file.duckdb"))
    fault = fault_of(secret.check)
    assert "s3cret-file" not in fault.message
    assert "***" in fault.message


@ON_SAIL
def test_batches_of_8192_rows_are_cut_to_what_was_asked_for(on_sail: Source) -> None:
    with on_sail.read(Query(sql="select n from numbers order by n"), batch_rows=100) as reader:
        batches = list(reader)
    assert {batch.num_rows for batch in batches} == {100}
    assert [n for batch in batches for n in batch.column("n").to_pylist()] == list(range(30_000))


def test_an_option_of_statements_that_the_driver_does_not_know_is_named() -> None:
    source = source_of("duckdb", **{"adbc.statement.nonsense": "1"})
    fault = fault_of(lambda: rows_of(source, "select 1 as x"))
    assert fault.kind is FailureKind.CONFIGURATION
    assert "adbc.statement.nonsense" in fault.message


def test_nothing_is_written_by_a_query_that_the_guard_lets_through(tmp_path: Path) -> None:
    path = tmp_path / "some.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create sequence counter")
    source = source_of("duckdb", path=str(path), access_mode="READ_ONLY")
    assert fault_of(lambda: rows_of(source, "select nextval('counter') as n")).kind is FailureKind.CONFIGURATION


def test_the_file_is_free_again_after_a_read_that_was_left(on_duckdb: Source, tmp_path: Path) -> None:
    with on_duckdb.read(Query(sql="select n from numbers"), batch_rows=10) as reader:
        reader.read_next_batch()
    with duckdb.connect(str(tmp_path / "some.duckdb")) as connection:
        connection.execute("insert into numbers values (-1)")
    other = open_source(DuckdbConnection(type="duckdb", path=str(tmp_path / "some.duckdb")))
    assert rows_of(other, "select count(*) as n from numbers") == [{"n": 100_001}]
