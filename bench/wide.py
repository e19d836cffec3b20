"""Peak memory with wide rows: whole runs of the installed command over distinct texts of up to 131,072 characters.

Prints one row per source and target; exits 1 if rows are missing or a peak is over the limit that holds for its kind.
The lengths are spread evenly from 1 to --width, and with --even all are of that width. A source whose server or driver
is not here is skipped by name. Usage: wide.py [--megabytes N] [--width N] [--even] [--targets files,crm] [NAME …]
"""

import argparse
import base64
import csv
import json
import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import duckdb
import memory
import pyarrow as pa
import pyarrow.parquet as pq
from sources import NotHereError, Prepared, need, run

LIMIT_MB = 300
NO_LIMIT = frozenset({"duckdb, its own file", "duckdb, Parquet, 2,048 rows a group", "duckdb, CSV", "duckdb, JSON"})
"""What DuckDB cannot read in little memory; docs/benchmarks-memory.md says why."""
GROUP_ROWS = 64
LINES = """
[connections.source]
{connection}
[connections.files]
type = "file"
directory = "out"
[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = {{ env = "BENCH_SECRET" }}
[jobs.rows]
source = "source"
query = 'select id as "Number__c", body as "Body__c" from contacts'
export = {{ {export} }}
"""
EXPORTS = {
    "files": 'connection = "files", file = "rows.csv"',
    "crm": 'connection = "crm", object = "Row__c"',
}
SCHEMA = {
    "objects": {
        "Row__c": {
            "label": "Row",
            "fields": {
                "Number__c": {"type": "double", "precision": 12, "scale": 0},
                "Body__c": {"type": "textarea", "length": 131_072},
            },
        }
    }
}

Rows = Iterator[tuple[int, str]]
Maker = Callable[[Path, Rows], AbstractContextManager[Prepared]]


def texts(megabytes: int, width: int, *, even: bool) -> Rows:
    """Yield numbered texts, no two alike and hard to compress, until they have that many millions of characters."""
    left, number, lengths = megabytes * 10**6, 0, random.Random(1)
    while left > 0:
        length = width if even else lengths.randint(1, width)
        yield number, base64.b64encode(os.urandom(length * 3 // 4 + 3)).decode()[:length]
        number, left = number + 1, left - length


def tables(rows: Rows) -> Iterator[pa.Table]:
    """Yield the rows as tables of a row group each."""
    held: list[tuple[int, str]] = []
    for row in rows:
        held.append(row)
        if len(held) == GROUP_ROWS:
            yield _table(held)
            held = []
    if held:
        yield _table(held)


def _table(rows: Sequence[tuple[int, str]]) -> pa.Table:
    ids, bodies = zip(*rows, strict=True)
    return pa.table({"id": ids, "body": bodies})


@contextmanager
def on_duckdb(directory: Path, rows: Rows, *, file: str = "") -> Iterator[Prepared]:
    """Make a DuckDB file with a table, or with a view of another file."""
    with duckdb.connect(str(directory / "rows.duckdb"), config={"threads": "1"}) as connection:
        if file:
            connection.execute(f"create view contacts as from '{directory / file}'")
        else:
            connection.execute("create table contacts (id bigint, body varchar)")
            for table in tables(rows):
                connection.register("piece", table)
                connection.execute("insert into contacts select * from piece")
    yield Prepared(connection='type = "duckdb"\npath = "rows.duckdb"', server=f"DuckDB {duckdb.__version__}")


@contextmanager
def on_duckdb_parquet(directory: Path, rows: Rows, *, groups: int = 1) -> Iterator[Prepared]:
    """Make a Parquet file whose row groups are ``groups`` times 64 rows."""
    with pq.ParquetWriter(directory / "rows.parquet", pa.schema([("id", pa.int64()), ("body", pa.string())])) as writer:
        held: list[pa.Table] = []
        for table in tables(rows):
            held.append(table)
            if len(held) == groups:
                writer.write_table(pa.concat_tables(held))
                held.clear()
        if held:
            writer.write_table(pa.concat_tables(held))
    with on_duckdb(directory, rows, file="rows.parquet") as prepared:
        yield prepared


@contextmanager
def on_duckdb_json(directory: Path, rows: Rows) -> Iterator[Prepared]:
    """Make a file of JSON lines."""
    with (directory / "rows.json").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"id": number, "body": body}) + "\n" for number, body in rows)
    with on_duckdb(directory, rows, file="rows.json") as prepared:
        yield prepared


@contextmanager
def on_duckdb_csv(directory: Path, rows: Rows) -> Iterator[Prepared]:
    """Make a CSV file."""
    with (directory / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "body"])
        writer.writerows(rows)
    with on_duckdb(directory, rows, file="rows.csv") as prepared:
        yield prepared


@contextmanager
def on_sqlite(directory: Path, rows: Rows, *, url: bool = False) -> Iterator[Prepared]:
    """Make a SQLite file."""
    with closing(sqlite3.connect(directory / "rows.db")) as connection, connection:
        connection.execute("create table contacts (id integer, body text)")
        connection.executemany("insert into contacts values (?, ?)", rows)
    lines = 'type = "sqlalchemy"\nurl = "sqlite:///rows.db"' if url else 'type = "sqlite"\npath = "rows.db"'
    yield Prepared(connection=lines, server=f"SQLite {sqlite3.sqlite_version}")


@contextmanager
def on_postgresql(_: Path, rows: Rows, *, url: bool = False) -> Iterator[Prepared]:
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
            connection.execute("create table contacts (id bigint, body text)")
            with connection.cursor().copy("copy contacts from stdin") as copy:
                for row in rows:
                    copy.write_row(row)
        address = postgres.url(server, "postgres")
        lines = f'type = "sqlalchemy"\nurl = "{address}"'
        if not url:
            lines = f'type = "postgresql"\nurl = "{address.replace("+psycopg", "")}"'
        yield Prepared(connection=lines, server=f"PostgreSQL {version // 10_000}.{version % 10_000}")
    finally:
        postgres.stop(server)


@contextmanager
def on_mysql(_: Path, rows: Rows) -> Iterator[Prepared]:
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
            cursor.execute("create table contacts (id bigint, body mediumtext)")
            for row in rows:
                cursor.execute("insert into contacts values (%s, %s)", row)
            connection.commit()
        lines = f'type = "mysql"\nhost = "{server.socket}"\nuser = "root"\ndatabase = "rows_"'
        yield Prepared(connection=lines, server=f"MariaDB {server.version()}")
    finally:
        server.stop()


SOURCES: dict[str, Maker] = {
    "sqlite": on_sqlite,
    "postgresql": on_postgresql,
    "mysql": on_mysql,
    "sqlalchemy, SQLite": lambda directory, rows: on_sqlite(directory, rows, url=True),
    "sqlalchemy, PostgreSQL": lambda directory, rows: on_postgresql(directory, rows, url=True),
    "duckdb, JSON": on_duckdb_json,
    "duckdb, Parquet, 64 rows a group": on_duckdb_parquet,
    "duckdb, Parquet, 2,048 rows a group": lambda directory, rows: on_duckdb_parquet(directory, rows, groups=32),
    "duckdb, CSV": on_duckdb_csv,
    "duckdb, its own file": on_duckdb,
}
HEAD = (
    "| source | against | target | rows | MB of text | seconds | peak MB of the run's process |",
    "|---|---|---|---:|---:|---:|---:|",
)


def measure(name: str, target: str, given: argparse.Namespace) -> bool:
    """Run one export, print its row of the table and return whether it held."""
    with tempfile.TemporaryDirectory(prefix="schedctl-bench-") as place:
        directory = Path(place)
        environment = {
            **os.environ,
            "BENCH_SECRET": "secret",
            "XDG_STATE_HOME": place,
            "SCHEDCTL_CONFIG": str(directory / "config.toml"),
        }
        count = 0

        def counted() -> Rows:
            nonlocal count
            for row in texts(given.megabytes, given.width, even=given.even):
                count += 1
                yield row

        with SOURCES[name](directory, counted()) as prepared, emulated(target, directory, environment) as url:
            config = directory / "config.toml"
            lines = LINES.format(connection=prepared.connection, url=url, export=EXPORTS[target])
            config.write_text(lines, encoding="utf-8")
            config.chmod(0o600)
            found = run(directory, environment, count)
    seconds = count / found.rows_per_second
    print(
        f"| {name} | {prepared.server} | {target} | {count:,} | {given.megabytes:,} | {seconds:.0f} | "
        f"{found.peak_megabytes:.0f} |",
        flush=True,
    )
    return found.whole and (name in NO_LIMIT or found.peak_megabytes < LIMIT_MB)


@contextmanager
def emulated(target: str, directory: Path, environment: dict[str, str]) -> Iterator[str]:
    """Serve the local Salesforce and give its URL, where it is the target."""
    if target != "crm":
        yield "http://127.0.0.1"
        return
    with memory.emulated(directory, environment, schema=SCHEMA) as url:
        yield url


def main() -> None:
    """Measure the sources that are named, or all, and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {'; '.join(SOURCES)}")
    parser.add_argument("--megabytes", type=int, default=2_000, help="millions of characters in all")
    parser.add_argument("--width", type=int, default=131_072, help="characters of the longest text")
    parser.add_argument("--even", action="store_true", help="all texts are of that width")
    parser.add_argument("--targets", default="files", help="files, crm, or both with a comma between them")
    given = parser.parse_args()
    print("\n".join(HEAD))
    held = True
    for name in given.names or SOURCES:
        for target in given.targets.split(","):
            try:
                held = measure(name, target, given) and held
            except NotHereError as error:
                print(f"| {name} | skipped: {error} | {target} | | | | |", flush=True)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
