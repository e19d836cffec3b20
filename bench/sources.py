"""Speed and peak memory of each kind of source: whole runs of the installed command, from a table to a CSV file.

Prints one row per source; exits 1 if rows are missing or a peak is over the limit. A source whose server or driver is
not here is skipped by name. Usage: sources.py [--rows N] [--write-docs] [NAME …]
"""

import argparse
import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from memory import SCHEDCTL

sys.path.append(str(Path(__file__).parents[1] / "tests"))

LIMIT_MB = 300
DOCS = Path(__file__).parents[1] / "docs" / "benchmarks-sources.md"
HEAD = ("| source | against | rows/s | of DuckDB's | CPU seconds | peak MB |", "|---|---|---:|---:|---:|---:|")
PAGE = """# How fast rows come from each source

Written by `python bench/sources.py --write-docs`: whole runs of the installed command, {rows:,} rows of 8 columns (a
number, three texts, a decimal, a time, a boolean, a date) from a table into a CSV file; Python {python}, {cores} cores,
which the server and whatever else runs share. CPU seconds and peak memory are those of the run's process; the limit is
{limit} MB. Elapsed time tells as much of the machine as of the source: the CPU seconds are what to look at.

{table}
"""
REST = (
    "<!-- The rest is measured by bench/sources_adbc.py, and kept when bench/sources.py writes what stands above. -->\n"
)
CONFIG = """
[connections.source]
{connection}
[connections.files]
type = "file"
directory = "out"
[jobs.rows]
source = "source"
query = "select * from contacts"
export = {{ connection = "files", file = "rows.csv" }}
"""
COLUMNS = {
    "duckdb": """i::bigint as id, 'user' || i || '@example.org' as email, 'First' || (i % 5000) as first_name,
        'Last' || md5(i::varchar) as last_name, (i * 1.37)::decimal(18, 2) as amount,
        timestamptz '2026-01-01 00:00:00+00' + interval 1 second * (i % 10000000) as updated_at, i % 2 = 0 as active,
        date '2020-01-01' + (i % 2000)::int as born""",
    "sqlite": """i as id, 'user' || i || '@example.org' as email, 'First' || (i % 5000) as first_name,
        'Last' || hex(i) || '0123456789abcdef' as last_name, round(i * 1.37, 2) as amount,
        datetime('2026-01-01', (i % 10000000) || ' seconds') as updated_at, i % 2 = 0 as active,
        date('2020-01-01', (i % 2000) || ' days') as born""",
    "postgresql": """i::bigint as id, 'user' || i || '@example.org' as email, 'First' || (i % 5000) as first_name,
        'Last' || md5(i::text) as last_name, (i * 1.37)::numeric(18, 2) as amount,
        timestamptz '2026-01-01 00:00:00+00' + interval '1 second' * (i % 10000000) as updated_at, i % 2 = 0 as active,
        date '2020-01-01' + (i % 2000)::int as born""",
    "mysql": """cast(seq as signed) as id, concat('user', seq, '@example.org') as email,
        concat('First', seq mod 5000) as first_name, concat('Last', md5(seq)) as last_name,
        cast(seq * 1.37 as decimal(18, 2)) as amount,
        timestamp '2026-01-01 00:00:00' + interval (seq mod 10000000) second as updated_at, seq mod 2 = 0 as active,
        date '2020-01-01' + interval (seq mod 2000) day as born""",
}
"""Eight columns: a number, three texts, a decimal, a time, a boolean and a date, in each engine's own words."""


class NotHereError(Exception):
    """A source that cannot be measured on this machine, and why."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A table that is there to be read: the connection's lines in the config, and what serves it."""

    connection: str
    server: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a run took: CPU time and peak memory are those of its process."""

    whole: bool
    rows_per_second: float
    processor_seconds: float
    peak_megabytes: float


Maker = Callable[[Path, int], AbstractContextManager[Prepared]]


@contextmanager
def on_duckdb(directory: Path, rows: int) -> Iterator[Prepared]:
    """Make a DuckDB file."""
    with duckdb.connect(str(directory / "rows.duckdb")) as connection:
        connection.execute(f"create table contacts as select {COLUMNS['duckdb']} from range({rows}) t(i)")  # noqa: S608 - our own numbers
    yield Prepared(connection='type = "duckdb"\npath = "rows.duckdb"', server=f"DuckDB {duckdb.__version__}")


@contextmanager
def on_sqlite(directory: Path, rows: int, *, url: bool = False) -> Iterator[Prepared]:
    """Make a SQLite file."""
    numbers = f"with recursive t(i) as (select 0 union all select i + 1 from t where i < {rows - 1})"  # noqa: S608 - our own numbers
    with closing(sqlite3.connect(directory / "rows.db")) as connection, connection:
        connection.execute(f"create table contacts as {numbers} select {COLUMNS['sqlite']} from t")  # noqa: S608 - our own numbers
    lines = 'type = "sqlalchemy"\nurl = "sqlite:///rows.db"' if url else 'type = "sqlite"\npath = "rows.db"'
    yield Prepared(connection=lines, server=f"SQLite {sqlite3.sqlite_version}")


@contextmanager
def on_postgresql(_: Path, rows: int, *, url: bool = False) -> Iterator[Prepared]:
    """Start PostgreSQL with a table."""
    need("psycopg")
    import psycopg  # noqa: PLC0415 - an extra
    from support.databases import postgres  # noqa: PLC0415 - the tests' own

    try:
        server = postgres.start()
    except postgres.NoPostgresqlError as error:
        raise NotHereError(str(error)) from error
    try:
        with psycopg.connect(f"host={server} user=postgres") as connection:
            version = connection.info.server_version
            connection.execute(
                f"create table contacts as select {COLUMNS['postgresql']} from generate_series(0, {rows - 1}) t(i)"  # noqa: S608 - our own numbers
            )
        address = postgres.url(server, "postgres")
        lines = f'type = "sqlalchemy"\nurl = "{address}"'
        if not url:
            lines = f'type = "postgresql"\nurl = "{address.replace("+psycopg", "")}"'
        yield Prepared(connection=lines, server=f"PostgreSQL {version // 10_000}.{version % 10_000}")
    finally:
        postgres.stop(server)


@contextmanager
def on_mysql(_: Path, rows: int) -> Iterator[Prepared]:
    """Start MariaDB with a table."""
    need("pymysql")
    from support.databases import mariadb  # noqa: PLC0415 - the tests' own

    try:
        server = mariadb.start()
    except mariadb.NoMariadbError as error:
        raise NotHereError(str(error)) from error
    try:
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("create database rows_")
            cursor.execute("use rows_")
            cursor.execute(f"create table contacts as select {COLUMNS['mysql']} from seq_0_to_{rows - 1}")  # noqa: S608 - our own numbers
        lines = f'type = "mysql"\nhost = "{server.socket}"\nuser = "root"\ndatabase = "rows_"'
        yield Prepared(connection=lines, server=f"MariaDB {server.version()}")
    finally:
        server.stop()


@contextmanager
def on_trino(_: Path, rows: int) -> Iterator[Prepared]:
    """Start the tests' server of Trino's protocol; it shares the machine's processors, and is the slower side."""
    need("trino")
    from support.databases.trino_server import trino_server  # noqa: PLC0415 - the tests' own

    with trino_server(page_rows=5000) as server:
        server.engine.execute(f"create table contacts as select {COLUMNS['duckdb']} from range({rows}) t(i)")  # noqa: S608 - our own numbers
        lines = f'type = "trino"\nhost = "127.0.0.1"\nport = {server.port}\nhttp_scheme = "http"\nuser = "bench"'
        yield Prepared(connection=lines, server="a server of Trino's protocol, in Python")


SOURCES: dict[str, Maker] = {
    "duckdb": on_duckdb,
    "sqlite": on_sqlite,
    "postgresql": on_postgresql,
    "mysql": on_mysql,
    "trino": on_trino,
    "sqlalchemy, SQLite": lambda directory, rows: on_sqlite(directory, rows, url=True),
    "sqlalchemy, PostgreSQL": lambda directory, rows: on_postgresql(directory, rows, url=True),
}
"""One line for each; the first is what the others are compared with."""


def need(module: str) -> None:
    """Raise NotHereError without a driver."""
    if importlib.util.find_spec(module) is None:
        raise NotHereError(f"{module} is not installed")


def measure(maker: Maker, rows: int) -> tuple[str, Figures]:
    """Return what served the rows, and the figures of a run that reads them."""
    with tempfile.TemporaryDirectory(prefix="schedctl-bench-") as name:
        directory = Path(name)
        environment = {**os.environ, "XDG_STATE_HOME": name, "SCHEDCTL_CONFIG": str(directory / "config.toml")}
        with maker(directory, rows) as prepared:
            config = directory / "config.toml"
            config.write_text(CONFIG.format(connection=prepared.connection), encoding="utf-8")
            config.chmod(0o600)
            return prepared.server, run(directory, environment, rows)


def run(directory: Path, environment: dict[str, str], rows: int) -> Figures:
    """Run the job and return its figures.

    The kernel's own account of a child's memory begins with the size of this process, which holds servers: so that is
    asked while the child runs.
    """
    began, peak, ended = time.perf_counter(), 0.0, 0
    output = directory / "run.json"
    with output.open("wb") as out, (directory / "run.log").open("wb") as log:
        command = [SCHEDCTL, "run", "rows", "--wait", "--json"]
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=log, cwd=directory)
        while not ended:
            peak = max(peak, resident(process.pid))
            time.sleep(0.05)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit((directory / "run.log").read_text(encoding="utf-8") + output.read_text(encoding="utf-8"))
    answer = json.loads(output.read_text(encoding="utf-8"))["runs"][0]
    return Figures(
        whole=answer["outcome"] == "succeeded" and answer["rows"]["accepted"] == rows,
        rows_per_second=rows / seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        peak_megabytes=peak,
    )


def resident(pid: int) -> float:
    """Return the highest resident size of a process so far, in MB; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0) * 1024 / 1e6


def page(lines: Sequence[str], rows: int) -> str:
    """Return the page of the docs for a table, with what bench/sources_adbc.py measured at its end."""
    python = ".".join(map(str, sys.version_info[:3]))
    kept = DOCS.read_text(encoding="utf-8").partition(REST)[2]
    written = PAGE.format(
        rows=rows, python=python, cores=os.cpu_count(), limit=LIMIT_MB, table="\n".join([*HEAD, *lines])
    )
    return f"{written}\n{REST}{kept}"


def main() -> None:
    """Measure the sources that are named, or all, and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {'; '.join(SOURCES)}")
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--write-docs", action="store_true", help=f"write {DOCS.name} as well")
    given = parser.parse_args()
    print("\n".join(HEAD))
    held, first, lines = True, None, []
    for name in given.names or SOURCES:
        try:
            server, found = measure(SOURCES[name], given.rows)
        except NotHereError as error:
            lines.append(f"| {name} | skipped: {error} | | | | |")
        else:
            first = first or (found.rows_per_second if name == "duckdb" else None)
            ratio = f"{found.rows_per_second / first:.2f}" if first else ""
            speed, processor, peak = found.rows_per_second, found.processor_seconds, found.peak_megabytes
            lines.append(f"| {name} | {server} | {speed:,.0f} | {ratio} | {processor:.0f} | {peak:.0f} |")
            held = held and found.whole and peak < LIMIT_MB
        print(lines[-1], flush=True)
    if given.write_docs:
        DOCS.write_text(page(lines, given.rows), encoding="utf-8")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
