"""A config file's text as values: what is read, what is taken from where, what never raises anything else."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from exporter.settings.base import SecretReference
from exporter.settings.connection import SalesforceConnection, SalesforceExport
from exporter.settings.databases import DuckdbConnection
from exporter.settings.file import FileConnection
from scheduler.config.build import Config, ConfigError, Fault, parse

CONNECTIONS = """
[connections.warehouse]
type = "duckdb"
path = "warehouse.duckdb"
[connections.crm]
type = "salesforce"
login_url = "https://yourorg.my.salesforce.com/"
client_id = "3MVG"
client_secret = { file = "secret" }
[connections.files]
type = "file"
directory = "out"
"""
JOB = """
[jobs.contacts]
source = "warehouse"
query = "select 1"
export = { connection = "crm", object = "Contact" }
"""


def read(text: str) -> Config:
    return parse(CONNECTIONS + text, base=Path("/etc/schedctl"), state=Path("/var/lib/schedctl"))


def test_an_empty_file_is_all_defaults() -> None:
    config = parse("")
    assert (config.daemon.timezone, config.daemon.max_running, config.daemon.drain_timeout) == ("UTC", 4, 300)
    assert config.notify.on == ("failed", "partial", "disabled", "recovered")
    assert (config.connections, config.jobs, config.warnings) == ({}, {}, ())


def test_paths_become_relative_to_the_file() -> None:
    config = read("[storage]\nspool = 'rows'\nurl = 'sqlite:///s.db'\n" + JOB)
    warehouse, crm, files = (config.connections[name] for name in ("warehouse", "crm", "files"))
    assert isinstance(warehouse, DuckdbConnection)
    assert warehouse.path == "/etc/schedctl/warehouse.duckdb"
    assert isinstance(files, FileConnection)
    assert files.directory == "/etc/schedctl/out"
    assert isinstance(crm, SalesforceConnection)
    assert crm.client_secret == SecretReference(file="/etc/schedctl/secret")
    assert config.storage.url == "sqlite:////etc/schedctl/s.db"
    assert config.storage.spool == Path("/etc/schedctl/rows")


@pytest.mark.parametrize(
    ("storage", "url", "spool"),
    [
        ("", "sqlite:////var/lib/schedctl/state.db", "/var/lib/schedctl/spool"),
        ("url = 'sqlite:///d/s'", "sqlite:////etc/schedctl/d/s", "/etc/schedctl/d/spool"),
        ("url = 'sqlite:////a/s.db'", "sqlite:////a/s.db", "/a/spool"),
        ("url = 'postgresql+psycopg://u@h/d'", "postgresql+psycopg://u@h/d", "/var/lib/schedctl/spool"),
        *(
            (f"url = '{url}'", url, "/var/lib/schedctl/spool")
            for url in (
                "postgresql+psycopg://u:p@h:5432/d",
                "postgresql+psycopg://u:a:b/c?d#e@h:1/d",
                "postgresql+psycopg://u@[::1]:65535/d",
                "postgresql+psycopg:///d?host=/run/postgresql&port=x",
            )
        ),
    ],
)
def test_where_state_lies(storage: str, url: str, spool: str) -> None:
    config = read(f"[storage]\n{storage}\n")
    assert (config.storage.url, config.storage.spool) == (url, Path(spool))


def test_a_duckdb_in_memory_is_no_file() -> None:
    config = parse("[connections.m]\ntype = 'duckdb'\npath = ':memory:'", base=Path("/etc"))
    assert config.connections["m"] == DuckdbConnection(type="duckdb")


def test_what_a_job_leaves_out_comes_from_defaults_then_from_the_daemon() -> None:
    text = "[daemon]\ntimezone = 'Asia/Tokyo'\n[defaults]\ndisable_after = 9\ntimeout = '2h'\n"
    job = read(text + JOB).jobs["contacts"]
    assert (job.timezone, job.disable_after, job.timeout, job.retry_limit) == ("Asia/Tokyo", 9, 7200, 3)
    job = read(text + "timezone = 'Europe/Paris'\n" + JOB + "disable_after = 0").jobs["contacts"]
    assert (job.timezone, job.disable_after) == ("Europe/Paris", 0)
    assert read(text).defaults == {"timezone": "Asia/Tokyo", "disable_after": 9, "timeout": 7200}


def test_a_job_with_its_own_dst_does_not_take_half_a_pair_from_defaults() -> None:
    text = "[defaults]\ngap = 'skip'\nfold = 'both'\n" + JOB
    assert (read(text).jobs["contacts"].gap, read(text).jobs["contacts"].fold) == ("skip", "both")
    job = read(text + "dst = 'once'\n").jobs["contacts"]
    assert (job.gap, job.fold) == (None, None)


def test_an_export_is_typed_by_its_connection() -> None:
    options = read(JOB).jobs["contacts"].export.options
    assert options == SalesforceExport(object="Contact")


def test_an_old_api_version_is_a_warning_with_its_line() -> None:
    config = parse(CONNECTIONS + JOB.replace('"Contact" }', '"Contact", api_version = "32.0" }'))
    assert [(fault.path, fault.line) for fault in config.warnings] == [("jobs.contacts.export.api_version", 17)]
    assert "62.0" in config.warnings[0].message
    assert not read(JOB.replace('"Contact" }', '"Contact", api_version = "41.0" }')).warnings


def test_the_text_of_a_query_file_becomes_the_query() -> None:
    text = CONNECTIONS + JOB.replace("query = 'select 1'", "").replace('query = "select 1"', 'query_file = "a.sql"')
    job = parse(text, query_files={"a.sql": "select 2"}).jobs["contacts"]
    assert (job.query, job.query_file) == ("select 2", "a.sql")


def test_cron_is_stored_with_single_spaces() -> None:
    assert read(JOB + "cron = ' 0\t3  * * * '").jobs["contacts"].cron == "0 3 * * *"


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "http://127.0.0.1:1", "http://[::1]:1", "https://x.my.salesforce.com"]
)
def test_a_login_url_may_be_https_or_this_machine(url: str) -> None:
    text = CONNECTIONS.replace("https://yourorg.my.salesforce.com/", url)
    crm = parse(text).connections["crm"]
    assert isinstance(crm, SalesforceConnection)
    assert crm.login_url == url


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    st.one_of(
        st.integers(),
        st.booleans(),
        st.floats(),
        TEXTS,
        st.dates(),
        st.none(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["type", "env"]), inner, max_size=2)
    ),
    max_leaves=4,
)
WORDS = [
    "duckdb",
    "salesforce",
    "file",
    "update",
    "0 0 * * *",
    "UTC",
    "5%",
    "10m",
    "String",
    "truncate",
    ":memory:",
    "~",
]
EXAMPLE = (Path(__file__).parents[3] / "config.example.toml").read_text(encoding="utf-8")


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each table or list with each of its keys, from the top down."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def as_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(str(key))} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(each):08x}" for each in value) + '"'
    return str(value).lower() if value is not None else "nan"


@examples(500)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.one_of(VALUES, st.sampled_from(WORDS))), min_size=1, max_size=4))
def test_whatever_stands_in_a_place_of_a_sound_file_gives_a_config_or_faults_with_lines(
    changes: list[tuple[int, Any]],
) -> None:
    top = tomllib.loads(EXAMPLE)
    for number, value in changes:
        table, key = (found := list(places(top)))[number % len(found)]
        if value is None and isinstance(table, dict):
            table[f"{key}x"] = table.pop(key)
        else:
            table[key] = value
    text = "\n".join(f"{as_toml(key)} = {as_toml(value)}" for key, value in top.items())
    faults = faults_of(text)
    for fault in faults:
        assert fault.line is not None
        assert 1 <= fault.line <= text.count("\n") + 1
        assert "\n" not in str(fault)
        assert not re.search("Input should|valid dictionary|pydantic|Value error", fault.message)


@examples(200)
@given(st.text())
def test_no_text_raises_anything_but_config_errors(text: str) -> None:
    for fault in faults_of(text):
        assert fault.message


def faults_of(text: str) -> tuple[Fault, ...]:
    try:
        parse(text, query_files={"orders.sql": "select 1"})
    except ConfigError as error:
        return error.faults
    return ()


HEAVY = (
    "sqlmodel",
    "sqlalchemy",
    "duckdb",
    "pyarrow",
    "simple_salesforce",
    "requests",
    "apscheduler",
    "alembic",
    "rich",
)


@pytest.mark.parametrize(
    "module",
    ["scheduler.config.build", "scheduler.config.merge", "scheduler.secrets.resolve", "scheduler.environment.paths"],
)
def test_reading_the_config_loads_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
