from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.settings.adbc import AdbcConnection, uri_fault
from exporter.settings.base import SecretReference
from exporter.sources.adbc.drivers import sort_options
from scheduler.config.build import ConfigError, load, parse
from scheduler.secrets.resolve import mask, resolve

PLAIN = '[connections.lake]\ntype = "adbc"\ndriver = "flightsql"\nuri = "grpc+tls://sql.example.com:443"\n'


def connection_of(text: str) -> AdbcConnection:
    found = parse(text).connections["lake"]
    assert isinstance(found, AdbcConnection)
    return found


def faults_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_a_driver_goes_by_its_short_name() -> None:
    for given in ("flightsql", "adbc_driver_flightsql", "adbc-driver-flightsql"):
        assert connection_of(PLAIN.replace('"flightsql"', f'"{given}"')).driver == "flightsql"
    assert connection_of(PLAIN.replace('"flightsql"', '"lib/driver.so"')).driver == "lib/driver.so"


def test_bigquery_needs_no_uri() -> None:
    lake = connection_of('[connections.lake]\ntype = "adbc"\ndriver = "bigquery"\n')
    assert (lake.uri, lake.options) == (None, {})


def test_an_option_is_text_unless_its_name_or_its_form_makes_it_a_secret() -> None:
    lake = connection_of(
        PLAIN + 'options = { username = "reader", password = "hunter22", '
        '"adbc.flight.sql.rpc.call_header.x-id" = "abc", role = { env = "ROLE" } }\n'
    )
    assert lake.options == {
        "username": "reader",
        "password": SecretStr("hunter22"),
        "adbc.flight.sql.rpc.call_header.x-id": SecretStr("abc"),
        "role": SecretReference(env="ROLE"),
    }
    assert "hunter22" not in repr(lake)


def test_references_among_the_options_are_looked_up_and_masked() -> None:
    lake = connection_of(PLAIN + 'options = { username = "reader", password = { env = "PASSWORD" } }\n')
    ready = resolve(lake, environ={"PASSWORD": "s3cret-of-the-lake"})
    assert ready.options == {"username": "reader", "password": SecretStr("s3cret-of-the-lake")}
    assert mask("reader has s3cret-of-the-lake") == "reader has ***"


def test_a_file_of_an_option_is_beside_the_config_file_and_a_plain_secret_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(PLAIN + 'options = { password = "pl4in", token = { file = "token" }, role = "reader" }\n')
    path.chmod(0o644)
    config = load(path)
    lake = config.connections["lake"]
    assert isinstance(lake, AdbcConnection)
    assert lake.options["token"] == SecretReference(file=str(tmp_path / "token"))
    assert {fault.keys[2:] for fault in config.warnings} == {("uri",), ("options", "password")}


@pytest.mark.parametrize(
    ("driver", "uri", "says"),
    [
        ("flightsql", "grpc://sql.example.com:443", "use grpc+tls"),
        ("flightsql", "grpc+tcp://10.0.0.1:443", "use grpc+tls"),
        ("flightsql", "sql.example.org:443", "write the server's address"),
        ("flightsql", "https://sql.example.com", "write the server's address"),
        ("spark", "sc://spark.example.com:15002", "use_ssl=true"),
        ("clickhouse", "http://example.com:8123", "use https"),
        ("flightsql", "grpc://[::1", "it is not a URI"),
        ("flightsql", "grpc://127.0.0.1:32010", None),
        ("flightsql", "grpc://localhost:32010", None),
        ("flightsql", "grpc+tls://sql.example.com:443", None),
        ("spark", "sc://spark.example.com:443/;use_ssl=true", None),
        ("spark", "sc://spark.example.com:443/;token=abc", None),
        ("spark", "sc://127.0.0.1:15002", None),
        ("postgresql", "postgresql://u@h/d", None),
        ("snowflake", "user@account/database", None),
    ],
)
def test_an_address_that_crosses_the_network_in_the_clear_is_refused(driver: str, uri: str, says: str | None) -> None:
    fault = uri_fault(driver, uri)
    assert (fault is None) if says is None else (says in str(fault))
    assert uri not in str(fault)


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ('type = "adbc"\n', "driver", 'driver is missing: write driver = "flightsql"'),
        ('type = "adbc"\ndriver = "flightsql"\n', "uri", "uri is missing"),
        ('type = "adbc"\ndriver = "profile://x"\n', "driver", "write a driver's name"),
        ('type = "adbc"\ndriver = "flight sql"\nuri = "grpc://127.0.0.1:1"\n', "driver", "write a driver's name"),
        ('type = "adbc"\ndriver = "flightsql"\nuri = "grpc://h:1"\n', "uri", "use grpc+tls"),
        ('type = "adbc"\ndriver = "sqlite"\noptions = "x"\n', "options", "write a table"),
        ('type = "adbc"\ndriver = "sqlite"\noptions = { depth = 5 }\n', "options.depth", "write the value in quotes"),
        ('type = "adbc"\ndriver = "sqlite"\noptions = { on = true }\n', "options.on", "write the value in quotes"),
        ('type = "adbc"\ndriver = "sqlite"\noptions = { token = { env = "" } }\n', "options.token", "env is text"),
        ('type = "adbc"\ndriver = "sqlite"\noptions.adbc.x = "y"\n', "options.adbc", '"adbc.x" = "…"'),
        ('type = "adbc"\ndriver = "sqlite"\noptions = { uri = "x" }\n', "options", "beside options"),
    ],
)
def test_a_wrong_value_is_named_with_its_fix(text: str, path: str, says: str) -> None:
    told = faults_of(f"[connections.lake]\n{text}")
    assert f"connections.lake.{path}:" in told
    assert says in told


def test_an_option_goes_where_its_name_says() -> None:
    options = {
        "username": "u",
        "adbc.snowflake.sql.db": "d",
        "adbc.connection.catalog": "c",
        "adbc.rpc.result_queue_size": "9",
        "adbc.bigquery.sql.query.priority": "BATCH",
    }
    sorted_ = sort_options(options)
    assert dict(sorted_.database) == {"username": "u", "adbc.snowflake.sql.db": "d"}
    assert dict(sorted_.connection) == {"adbc.connection.catalog": "c"}
    assert set(sorted_.statement) == {"adbc.rpc.result_queue_size", "adbc.bigquery.sql.query.priority"}
